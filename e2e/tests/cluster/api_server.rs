//! An API server alone.

use e2e::cluster::ApiServer;
use e2e::process::wait_until;

#[test]
fn an_api_server_knows_its_users_survives_a_crash_and_is_gone_afterwards() {
    let Some(server) = ApiServer::or_skip() else { return };

    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    let refused = server.kubectl_as("bob", &["create", "configmap", "a", "--namespace=shop"]).unwrap_err();
    assert!(refused.to_string().contains(r#"User "bob" cannot create resource "configmaps""#), "{refused}");
    for role in [
        ["role", "writer", "--verb=create", "--resource=configmaps"],
        ["rolebinding", "writers", "--role=writer", "--group=dba"],
    ] {
        server.kubectl(&[["create", "--namespace=shop"].as_slice(), &role].concat()).unwrap();
    }
    // The server's authorizer hears of the binding a moment later.
    wait_until("carol may", || {
        server.kubectl_as("carol", &["create", "configmap", "a", "--namespace=shop"]).ok()
    })
    .unwrap();

    server.stop();
    server.kubectl(&["get", "namespaces"]).unwrap_err();
    server.start_again().unwrap();
    server.kubectl(&["get", "configmap/a", "--namespace=shop"]).unwrap();

    let writes = server.audit().unwrap();
    let carols = writes.iter().filter(|write| write["user"]["username"] == "carol");
    let codes: Vec<_> = carols.map(|write| write["responseStatus"]["code"].as_i64().unwrap()).collect();
    assert_eq!(codes.last(), Some(&201));

    let kubeconfig = server.kubeconfig().to_owned();
    drop(server);
    assert!(!kubeconfig.exists());
}

#[test]
fn the_controller_manager_removes_what_a_deleted_object_owned() {
    if !ApiServer::is_possible() {
        return;
    }
    let server = ApiServer::start_with_controllers().unwrap();
    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    server.kubectl(&["create", "configmap", "a", "--namespace=shop"]).unwrap();
    // Waits until it is gone, with all that is in it.
    server.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]).unwrap();
    server.kubectl(&["get", "namespace", "shop"]).unwrap_err();
}
