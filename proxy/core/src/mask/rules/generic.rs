//! Our own rules: secrets that have a detector of their own, and those known by where they stand.

use super::{Check, Rule, Shape, Start, assigned, bare, folded, word};
use proxy_policy::Detector;

const fn of(detector: Detector, check: Check, rule: Rule) -> Rule {
    Rule { detector: Some(detector), check, ..rule }
}

/// Names that secrets are assigned to.
const NAMES: &str = "access|auth|(?-i:[Aa]pi|API)|credential|creds|key|passw(?:or)?d|pwd|secret|token";

/// One rule a line, where it fits.
#[rustfmt::skip]
pub(super) static GENERIC: &[Rule] = &[
    of(Detector::AwsAccessKey, Check::None,
        word("aws-access-key", &["a3t", "akia", "asia", "abia", "acca"],
            r"((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})(?:\b|$)", 2.5)),
    of(Detector::AwsAccessKey, Check::None,
        assigned("aws-secret-key", &["aws", "secretaccess", "secret_access", "secret-access", "secret access"],
            r"aws[\w. -]{0,20}?(?:secret|sk)[\w. -]{0,20}|secret[_ -]?access[_ -]?key", "[A-Za-z0-9/+]{40}", 3.0)),
    of(Detector::Jwt, Check::Jwt,
        word("jwt", &["ey"], r"ey[\w-]{15,}(?:\.[\w/\\-]*={0,2}){2,4}", 3.0)),
    of(Detector::Jwt, Check::WrappedJwt,
        word("jwt", &["zxlk"], r"ZXlK[\w/\\+\r\n-]{40,}={0,2}", 3.0)),
    of(Detector::UrlPassword, Check::Password,
        bare("url-password", &["://"], r#"://[^\s:/?#@\[\]"'<>\x00]{0,128}:([^\s/"'<>\x00]{1,256})@[\w\[%\x80-\xff]"#, 0.0)),
    of(Detector::UrlPassword, Check::Password,
        bare("url-password", &["?password=", "&password=", "?sslpassword=", "&sslpassword="],
            r#"(?i)[?&](?:ssl)?password=([^\s&#"'<>\x00]{1,256})"#, 0.0)),
    of(Detector::GenericSecret, Check::Generic,
        folded("generic-secret",
            &["access", "api", "auth", "key", "credential", "creds", "passwd", "password", "pwd", "secret", "token"],
            NAMES, r"[\w.=-]{10,150}|[a-z0-9][a-z0-9+/]{11,256}={0,3}", 3.5)),
    of(Detector::GenericSecret, Check::Password,
        bare("authorization", &["authorization"],
            r#"(?i)authorization["']?[ \t]{0,5}[:=][ \t]{0,5}["']?(?:(?:basic|bearer|token|api-?token|apikey)[ \t]+)([\w=~@.+/-]{8,4096})"#, 2.75)),
    of(Detector::GenericSecret, Check::Password,
        bare("authorization", &["authorization:"],
            r#"(?i)authorization:[ \t]{0,5}([\w=~@.+/-]{8,4096})["']"#, 2.75)),
    of(Detector::GenericSecret, Check::Password,
        Rule { start: Start::Around(24), ..bare("authorization", &["key:", "token:"],
            r#"(?i)(?:-H|--header)(?:=|[ \t]{0,5})["'](?:X-(?:[a-z]+-)?)?(?:Api-?)?(?:Key|Token):[ \t]{0,5}([\w=~@.+/-]{8,4096})["']"#, 2.75) }),
    of(Detector::GenericSecret, Check::UserPassword,
        Rule { behind: Some((b"-u", 308)), ..word("curl-password", &["curl"],
            r#"curl\b[^\x00]{0,300}?[ \t\n\r](?:-u|--user)(?:=|[ \t]{0,5})(?:"(:[^"]{3,}|[^:"]{3,}:|[^:"]{3,}:[^"]{3,})"|'([^:']{3,}:[^']{3,})'|((?:"[^"]{3,}"|'[^']{3,}'|[\w$@.-]+):(?:"[^"]{3,}"|'[^']{3,}'|[\w${}@.-]+)))(?:[\s\x00\xff]|\z)"#, 2.0) }),
    of(Detector::UrlPassword, Check::Connection,
        word("connection-password", &["password", "pwd"],
            r#"(?i)(?:password|pwd)=('[^'\x00\n]{1,256}'|"[^"\x00\n]{1,256}"|[^\s;'"&,/\x00][^\s;'"&,\x00]{0,255})"#, 0.0)),
    of(Detector::GenericSecret, Check::Quoted,
        folded("quoted-password", &["password", "passwd", "passphrase", "pwd", "secret"],
            "password|passwd|passphrase|pwd|secret", r#"(?:["'])[^\s"'\\\x00<>]{6,128}"#, 1.5)),
    Rule { check: Check::None, ..bare("password-hash", &["scram-sha-"],
        r"SCRAM-SHA-(?:1|256|512)\$\d{1,9}:[A-Za-z0-9+/=]{4,172}\$[A-Za-z0-9+/=]{20,172}:[A-Za-z0-9+/=]{20,172}", 0.0) },
    Rule { check: Check::None, ..word("password-hash", &["md5"], r"(md5[0-9a-f]{32})(?:\b|$)", 2.0) },
    Rule { check: Check::None, ..bare("password-hash", &["$2a$", "$2b$", "$2y$"], r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", 2.0) },
    Rule { check: Check::None, ..bare("password-hash", &["$argon2"],
        r"\$argon2(?:id|i|d)\$(?:v=\d+\$)?[a-z]=\d+(?:,[a-z]=\d+){0,4}\$[A-Za-z0-9+/]{8,128}\$[A-Za-z0-9+/]{16,172}", 2.0) },
    Rule { check: Check::None, ..bare("password-hash", &["$5$", "$6$", "$y$"],
        r"\$(?:5|6|y)\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,22}\$(?:[./A-Za-z0-9]{1,86}\$)?[./A-Za-z0-9]{43,86}", 2.0) },
    of(Detector::UrlPassword, Check::None,
        bare("sidekiq-sensitive-url", &["://"],
            r"(?i)://([a-f0-9]{8}:[a-f0-9]{8})@(?:gems|enterprise)\.contribsys\.com", 0.0)),
    of(Detector::GenericSecret, Check::Manifest,
        word("manifest-secret", &["kind:"],
            r#"(?i)kind:[ \t]*["']?\bsecret\b["']?(?s:.){0,200}?\bdata:(?s:.){0,100}?\s+([\w.-]+:(?:[ \t]*(?:\||>[-+]?)\s+)?[ \t]*["']?[a-z0-9+/]{10,}={0,3}["']?)(?:[\s\x00]|\z)"#, 0.0)),
    of(Detector::GenericSecret, Check::Manifest,
        word("manifest-secret", &["data:"],
            r#"(?i)data:(?s:.){0,100}?\s+([\w.-]+:(?:[ \t]*(?:\||>[-+]?)\s+)?[ \t]*["']?[a-z0-9+/]{10,}={0,3}["']?)\s(?s:.){0,200}?\bkind:[ \t]*["']?\bsecret\b["']?"#, 0.0)),
    Rule { check: Check::Password, shape: Shape::Assigned { names: "administrator_login_password|password", value: r#""[a-z0-9=_\-]{8,20}""#, fold: true },
        ..bare("hashicorp-tf-password", &["administrator_login_password", "password"], "", 2.0) },
];
