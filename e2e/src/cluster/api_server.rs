//! An API server alone: what is not about running pods needs no more, and no privileges.

use super::component::Component;
use super::control_plane::{ControlPlane, Setup};
use super::directory::Directory;
use super::kubectl::Kubectl;
use super::place::Place;
use super::programs::KUBERNETES;
use super::skip;
use crate::tools;
use anyhow::Result;
use std::path::Path;

/// A running etcd and API server on a free loopback port. They end with the value, or with this process.
///
/// Nothing runs pods. Without the controller manager there are no default service accounts, what a deleted object owned
/// stays, and the roles `view`, `edit` and `admin` are empty; objects themselves, admission, authorisation and watches
/// are as in every cluster.
#[derive(Debug)]
pub struct ApiServer {
    // Dropped in this order: who uses the API server ends first.
    _controllers: Option<Component>,
    plane: ControlPlane,
    _directory: Directory,
}

impl ApiServer {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// Go is missing, the build fails, or it does not get ready; with its log.
    pub fn start() -> Result<Self> {
        Self::start_plane().map(|(plane, directory)| Self {
            _controllers: None,
            plane,
            _directory: directory,
        })
    }

    /// As [`ApiServer::start`], with the controller manager: garbage collection, the end of namespaces, service accounts.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub fn start_with_controllers() -> Result<Self> {
        let (plane, directory) = Self::start_plane()?;
        // It serves nobody here.
        let mut controllers = plane.controllers(&["--secure-port=0"])?;
        controllers.wait_until("the default ServiceAccount is there", || {
            plane.kubectl().run(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt"]).ok()
        })?;
        Ok(Self { _controllers: Some(controllers), plane, _directory: directory })
    }

    /// For tests: whether one can be started; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where Go must be there.
    pub fn is_possible() -> bool {
        skip::is_possible(&["go"], KUBERNETES.is_built())
    }

    /// For tests: as [`ApiServer::start`], but `None` if it is not possible.
    ///
    /// # Panics
    /// As [`ApiServer::is_possible`], and if it does not start.
    pub fn or_skip() -> Option<Self> {
        Self::is_possible().then(|| skip::started("an API server", Self::start()))
    }

    fn start_plane() -> Result<(ControlPlane, Directory)> {
        let bin = KUBERNETES.build()?;
        let mut attempts = 0;
        loop {
            let directory = Directory::new("portcullis-api-")?;
            let setup = Setup {
                place: Place::Here,
                node: bin.join("node"),
                directory: directory.path().to_owned(),
                etcd: directory.path().to_owned(),
                port: tools::free_port()?,
                arguments: vec![
                    "--bind-address=127.0.0.1".to_owned(),
                    // No kube-proxy makes this address of use, and loopback addresses are refused.
                    "--advertise-address=192.0.2.1".to_owned(),
                    "--service-cluster-ip-range=10.82.0.0/16".to_owned(),
                ],
            };
            attempts += 1;
            match ControlPlane::start(setup, &[], bin.join("kubectl")) {
                Ok(plane) => return Ok((plane, directory)),
                // Another program took the port between the look for a free one and its use.
                Err(error)
                    if attempts < ATTEMPTS && format!("{error:#}").contains("address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// kubectl, to run it in ways that are not here.
    pub fn client(&self) -> &Kubectl {
        self.plane.kubectl()
    }

    /// Runs kubectl as the administrator and gives what it printed.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.client().run(arguments)
    }

    /// Runs kubectl as one of [`super::USERS`].
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn kubectl_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        self.client().run_as(user, arguments)
    }

    /// Applies manifests as the administrator.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.client().apply(manifests)
    }

    /// A kubeconfig with a context for each of [`super::USERS`]; the administrator's is the current one.
    pub fn kubeconfig(&self) -> &Path {
        self.client().kubeconfig()
    }

    /// Ends the API server as a crash would; what it stored stays.
    pub fn stop(&self) {
        self.plane.stop_server();
    }

    /// Starts it again, on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready; with its log.
    pub fn start_again(&self) -> Result<()> {
        self.plane.start_server()
    }

    /// [`ApiServer::stop`] and [`ApiServer::start_again`].
    ///
    /// # Errors
    /// It does not get ready; with its log.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        self.start_again()
    }

    /// Every write that it was asked for so far, whatever came of it, as Kubernetes' audit events without bodies.
    ///
    /// # Errors
    /// The audit log cannot be read.
    pub fn audit(&self) -> Result<Vec<serde_json::Value>> {
        self.plane.audit()
    }
}

/// How often another port is tried.
const ATTEMPTS: u32 = 3;
