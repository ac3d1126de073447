//! Who a cluster's API server is, and who its users are.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// People that tests play, each with a group. There is a context of the kubeconfig for each of them.
pub const USERS: [(&str, &str); 4] =
    [(ADMIN, "system:masters"), ("alice", "dba"), ("bob", "developers"), ("carol", "dba")];

/// Who may do everything.
pub const ADMIN: &str = "admin";

/// Files that the API server is started with.
#[derive(Debug)]
pub(super) struct Credentials {
    directory: PathBuf,
    authority: String,
    tokens: Vec<(&'static str, String)>,
}

impl Credentials {
    /// Writes them: an authority, the server's certificate for `names`, the key of service accounts, a token per user.
    pub(super) fn write(directory: &Path, names: &[&str]) -> Result<Self> {
        fs::create_dir_all(directory).context("create the directory of credentials")?;
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).with_context(|| format!("write {name}"))
        };
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Portcullis test cluster");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names: Vec<String> = NAMES.iter().chain(names).map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        write(AUTHORITY, issuer.pem())?;
        write(CERTIFICATE, certificate.pem())?;
        write(KEY, key.serialize_pem())?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, AGGREGATOR);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        write(AGGREGATOR_CERTIFICATE, params.signed_by(&key, &issuer)?.pem())?;
        write(AGGREGATOR_KEY, key.serialize_pem())?;
        // RSA, as in most clusters: relying parties get RS256 to verify.
        let accounts = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?;
        write(ACCOUNTS, accounts.serialize_pem())?;
        write(ACCOUNTS_PUBLIC, accounts.public_key_pem())?;
        let mut tokens = Vec::new();
        let mut lines = String::new();
        for (user, group) in USERS {
            let token = token()?;
            writeln!(lines, "{token},{user},{user},\"{group}\"")?;
            tokens.push((user, token));
        }
        write(TOKENS, lines)?;
        Ok(Self { directory: directory.to_owned(), authority: issuer.pem(), tokens })
    }

    /// A kubeconfig with a context per user; the administrator's is the current one.
    pub(super) fn kubeconfig(&self, port: u16) -> String {
        let authority = base64::engine::general_purpose::STANDARD.encode(&self.authority);
        let each = |entry: &dyn Fn(&str, &str) -> serde_json::Value| -> Vec<_> {
            self.tokens.iter().map(|(user, token)| entry(user, token)).collect()
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": authority,
            }}],
            "users": each(&|user, token| json!({"name": user, "user": {"token": token}})),
            "contexts": each(&|user, _| json!({"name": user, "context": {"cluster": "e2e", "user": user}})),
            "current-context": ADMIN,
        });
        // JSON is YAML.
        config.to_string()
    }

    /// Arguments of the API server that name the files.
    pub(super) fn arguments(&self) -> Vec<String> {
        let files = [
            ("requestheader-client-ca-file", AUTHORITY),
            ("proxy-client-cert-file", AGGREGATOR_CERTIFICATE),
            ("proxy-client-key-file", AGGREGATOR_KEY),
            ("tls-cert-file", CERTIFICATE),
            ("tls-private-key-file", KEY),
            ("service-account-key-file", ACCOUNTS_PUBLIC),
            ("service-account-signing-key-file", ACCOUNTS),
            ("token-auth-file", TOKENS),
        ]
        .map(|(flag, file)| format!("--{flag}={}", self.directory.join(file).display()));
        // who asks, as API servers behind this one are told
        let headers = [
            format!("--requestheader-allowed-names={AGGREGATOR}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        ];
        files.into_iter().chain(headers).collect()
    }

    /// The authority of the server's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.join(AUTHORITY)
    }

    /// The key that tokens of service accounts are signed with.
    pub(super) fn accounts(&self) -> PathBuf {
        self.directory.join(ACCOUNTS)
    }
}

fn token() -> Result<String> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).context("make a token")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Names by which every API server is reached, from here and from pods.
const NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster",
    "kubernetes.default.svc.cluster.local",
];
const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const ACCOUNTS: &str = "accounts.key";
const ACCOUNTS_PUBLIC: &str = "accounts.pub";
const TOKENS: &str = "tokens.csv";
/// The API server, as those behind it know it.
const AGGREGATOR: &str = "front-proxy-client";
const AGGREGATOR_CERTIFICATE: &str = "aggregator.crt";
const AGGREGATOR_KEY: &str = "aggregator.key";
