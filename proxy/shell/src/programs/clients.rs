//! Clients, editors and build tools that run programs when they are told to.

use super::super::argument::{Arg, Sort, has_short, is_long};
use super::super::found::Why;
use super::super::walk::{Input, Walk};
use super::Call;
use super::options::{self, Spec, value_of};

/// Whether it is one of them.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "ssh" | "autossh" | "sshpass" => remote(walk, call),
        "psql" | "mysql" | "mariadb" | "sqlite3" | "mongo" | "mongosh" | "redis-cli"
        | "clickhouse-client" | "cqlsh" => {
            database(walk, call);
        }
        "vi" | "vim" | "nvim" | "view" | "vimdiff" | "rvim" | "ex" | "ed" | "red" | "emacs"
        | "emacsclient" | "nano" | "pico" | "joe" | "micro" | "mc" | "ranger" | "nnn" | "hx" | "kak"
        | "mutt" | "lynx" | "w3m" | "elinks" | "ftp" | "lftp" | "sftp" | "telnet" => {
            call.doubt(walk, "is interactive and can run programs");
        }
        "less" | "more" | "most" | "man" | "info" | "pg" => {
            let odd = |arg: &Arg| {
                arg.sort == Sort::Open
                    || arg.text.starts_with('+')
                    || is_long(arg, "pager", 1)
                    || is_long(arg, "html", 1)
                    || has_short(arg, 'P', "")
                    || has_short(arg, 'H', "")
                    || has_short(arg, 'k', "")
                    || has_short(arg, 'o', "")
                    || has_short(arg, 'O', "")
            };
            if call.args.iter().any(odd) {
                call.doubt(walk, "has an argument that may make it run programs");
            }
        }
        "nc" | "ncat" | "netcat" => {
            let runs = |arg: &Arg| {
                arg.sort == Sort::Open
                    || has_short(arg, 'e', "ipqswxX")
                    || has_short(arg, 'c', "ipqswxX")
                    || ["exec", "sh-exec", "lua-exec"].iter().any(|name| is_long(arg, name, 2))
            };
            if call.args.iter().any(runs) {
                call.doubt(walk, "runs programs for who connects");
            }
        }
        "make" | "gmake" | "ninja" | "just" | "task" => {
            let odd = |arg: &Arg| {
                arg.sort == Sort::Open
                    || arg.text.contains('=')
                    || is_long(arg, "eval", 2)
                    || has_short(arg, 'E', "CfIjlo")
                    || arg.text == "-f-"
                    || arg.text == "-"
                    || arg.text.starts_with("/dev/")
            };
            if call.args.iter().any(odd) {
                call.doubt(walk, "has an argument that may hold commands");
            }
        }
        "systemctl" if call.args.iter().any(|arg| arg.text == "edit" || arg.text == "set-environment") => {
            call.doubt(walk, "runs an editor, or changes what services run");
        }
        "npm" | "yarn" | "pnpm" | "go" | "cargo"
            if call.args.first().is_some_and(|arg| {
                matches!(arg.text.as_str(), "exec" | "x" | "dlx" | "generate" | "config" | "set-script")
            }) =>
        {
            call.doubt(walk, "runs programs that are not analysed");
        }
        "apt" | "apt-get" | "aptitude" | "dpkg" | "yum" | "dnf" | "rpm" => packages(walk, call),
        "gcc" | "g++" | "cc" | "c++" | "clang" | "ld" | "tclsh" | "openssl" => {
            let odd = |arg: &Arg| {
                arg.sort == Sort::Open
                    || ["-wrapper", "-fplugin", "-B", "-engine", "-provider-path", "-specs", "-config", "@"]
                        .iter()
                        .any(|name| arg.text.starts_with(name))
            };
            if call.args.iter().any(odd) {
                call.doubt(walk, "has an argument that may load code");
            }
        }
        "ansible" | "ansible-playbook" | "salt" | "salt-call" | "puppet" | "chef-client" | "chef-solo"
        | "fab" | "pdsh" | "pssh" | "clush" | "dsh" | "terraform" | "tofu" | "pulumi" | "vagrant"
        | "multipass" | "lxc" | "lxc-attach" | "incus" => {
            call.doubt(walk, "runs commands in ways that are not analysed");
        }
        "ip" if enters(call.args) => {
            call.doubt(walk, "runs programs that are not analysed");
        }
        name => {
            let Some(odd) = conditional(name) else { return false };
            if call
                .args
                .iter()
                .any(|arg| arg.sort == Sort::Open || odd.iter().any(|odd| arg.text.starts_with(odd)))
            {
                call.doubt(walk, "has an argument that may make it run programs");
            }
        }
    }
    true
}

/// `ip netns e`, `ip v exec`: any beginning of a word will do that no other word has.
fn enters(args: &[Arg]) -> bool {
    let begins = |arg: &Arg, word: &str, least: usize| arg.text.len() >= least && word.starts_with(&arg.text);
    let place = args.iter().position(|arg| begins(arg, "netns", 3) || begins(arg, "vrf", 1));
    let behind = place.and_then(|place| args.get(place + 1..)).unwrap_or_default();
    behind.iter().any(|arg| begins(arg, "exec", 1))
}

/// How arguments begin that make a program run others.
fn conditional(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "ip" => &["exec", "-b", "-f"],
        "tcpdump" => &["-z", "--z"],
        "rg" => &["--pre", "--hostname-bin"],
        "nmap" => &["--script", "--interactive", "--resume"],
        "pidstat" => &["-e"],
        "split" => &["--f"],
        "ssh-keygen" | "ssh-add" => &["-D", "-s", "-w"],
        "helm" => &["plugin", "--post-r"],
        "nginx" => &["-g"],
        "dmesg" => &["-H", "--human"],
        "logrotate" => &["-m", "--mail"],
        "uniq" => &[],
        _ => return None,
    })
}

fn remote(walk: &mut Walk, call: &Call<'_>) {
    if call.name() != "ssh" {
        call.doubt(walk, "runs commands in ways that are not analysed");
        return;
    }
    let spec = Spec { flags: "46AaCfgkKnNqsTtVvXxYy", values: "BbcDEeFiIJLlmOoPpQRSWw", ..Spec::NONE };
    let mut rest = call.args;
    let mut host = None;
    // options may stand behind the host as well
    for _ in 0..2 {
        let Some((given, at)) = options::leading(rest, spec) else {
            call.doubt(walk, "has options that are not analysed");
            return;
        };
        for option in &given {
            let plain = option.name != "o"
                || option.value.as_ref().and_then(Arg::value).is_some_and(is_plain_setting);
            if !plain
                || matches!(
                    option.name.as_str(),
                    "F" | "I" | "E" | "S" | "D" | "L" | "R" | "w" | "O" | "A" | "X" | "Y" | "s"
                )
            {
                call.doubt(
                    walk,
                    &format!(
                        "has the option -{}, which may run programs or forward connections",
                        option.name
                    ),
                );
            }
        }
        rest = rest.get(at..).unwrap_or_default();
        if host.is_none() {
            host = rest.first().cloned();
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    if rest.is_empty() {
        if host.is_some() {
            call.doubt(walk, "starts a shell on another host whose commands are not known");
        }
        return;
    }
    if let Some(arg) = rest.iter().find(|arg| arg.sort != Sort::Exact) {
        walk.found.doubt_program(Why::new(format!("`ssh` runs `{}`, which is not literal", arg.text)));
        return;
    }
    let text = rest.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
    walk.foreign_text(&text);
}

fn is_plain_setting(setting: &str) -> bool {
    let key = setting.split(['=', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    matches!(
        key.as_str(),
        "stricthostkeychecking"
            | "userknownhostsfile"
            | "connecttimeout"
            | "batchmode"
            | "serveraliveinterval"
            | "serveralivecountmax"
            | "loglevel"
            | "identitiesonly"
            | "passwordauthentication"
            | "port"
            | "user"
            | "preferredauthentications"
            | "connectionattempts"
            | "compression"
            | "addressfamily"
    )
}

/// Database clients have commands of their own that run programs.
fn database(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let runs = |text: &str| {
        let lower = text.to_ascii_lowercase();
        text.contains(['\\', '|'])
            || [
                "system",
                ".shell",
                ".output",
                ".import",
                ".load",
                ".read",
                "program",
                "source",
                "eval",
                "pager",
                "tee ",
                "edit",
                "load_extension",
            ]
            .iter()
            .any(|word| lower.contains(word))
    };
    if call.args.iter().any(|arg| runs(&arg.text)) {
        call.doubt(walk, "has an argument that may make it run programs");
    }
    let given = |letter, long, before| value_of(call.args, letter, long, before).is_some();
    let has_text = match call.name() {
        "psql" => {
            given('c', "command", "dhLopRTUv")
                || given('f', "file", "dhLopRTUv")
                || call.args.iter().any(|arg| is_long(arg, "list", 2) || has_short(arg, 'l', ""))
        }
        "mysql" | "mariadb" => given('e', "execute", "DhPpSu"),
        "clickhouse-client" => given('q', "query", ""),
        "cqlsh" => given('e', "execute", "") || given('f', "file", ""),
        "redis-cli" | "sqlite3" => {
            call.args.iter().filter(|arg| !arg.is_option()).count() > usize::from(call.name() == "sqlite3")
        }
        _ => false,
    };
    match call.input {
        _ if has_text => {}
        Input::Literal(text) if !runs(text) => {}
        Input::File(path) => super::shells::script(walk, call, &Arg::exact(path.clone())),
        Input::Literal(_) | Input::Client | Input::Computed | Input::Paths(_) => {
            call.doubt(walk, "runs what it reads from its input");
        }
    }
}

fn packages(walk: &mut Walk, call: &Call<'_>) {
    let odd = |arg: &Arg| {
        arg.sort == Sort::Open
            || has_short(arg, 'o', "") && call.name().starts_with("apt")
            || arg.text.contains("nvoke")
            || has_short(arg, 'c', "") && call.name().starts_with("apt")
            || is_long(arg, "eval", 3)
            || is_long(arg, "define", 3)
            || is_long(arg, "option", 3)
            || is_long(arg, "setopt", 3)
            || is_long(arg, "pipe", 3)
    };
    if call.args.iter().any(odd) {
        call.doubt(walk, "has an argument that may hold commands");
    }
}
