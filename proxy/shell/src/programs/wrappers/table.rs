//! Programs that run the program behind their options, as a table.

use super::super::options::Spec;

/// How a program finds the command in its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wrapper {
    pub(super) spec: Spec,
    /// So many operands stand before the command.
    pub(super) operands: usize,
    /// `NAME=value` may stand before the command.
    pub(super) assignments: bool,
    /// Without a command it runs a shell, or what it reads.
    pub(super) shell_alone: bool,
}

const NONE: Wrapper = Wrapper {
    spec: Spec { flags: "", values: "", long_flags: &["help", "version"], long_values: &[], ..Spec::NONE },
    operands: 0,
    assignments: false,
    shell_alone: false,
};

/// How this program finds it; `None` for one that is none of them.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn wrapper(name: &str) -> Option<Wrapper> {
    let spec = |flags, values, long_flags, long_values| Spec {
        flags,
        values,
        long_flags,
        long_values,
        ..Spec::NONE
    };
    Some(match name {
        "command" => Wrapper { spec: spec("p", "", &[], &[]), ..NONE },
        "builtin" | "noglob" | "-" | "nohup" | "catchsegv" | "fakeroot" | "caffeinate" | "linux32"
        | "linux64" | "i386" | "x86_64" => NONE,
        "setsid" => Wrapper { spec: spec("cfw", "", &["ctty", "fork", "wait"], &[]), ..NONE },
        "sudo" => Wrapper {
            spec: spec(
                "AbBEHiknNPSs",
                "CDghpRrTtUu",
                &[
                    "askpass",
                    "background",
                    "bell",
                    "set-home",
                    "login",
                    "non-interactive",
                    "no-update",
                    "preserve-groups",
                    "reset-timestamp",
                    "shell",
                    "stdin",
                    "preserve-env",
                ],
                &[
                    "close-from",
                    "chdir",
                    "group",
                    "host",
                    "prompt",
                    "chroot",
                    "role",
                    "command-timeout",
                    "type",
                    "other-user",
                    "user",
                ],
            ),
            assignments: true,
            shell_alone: true,
            ..NONE
        },
        "doas" => Wrapper { spec: spec("Lns", "Cu", &[], &[]), shell_alone: true, ..NONE },
        "nice" => Wrapper { spec: spec("", "n", &[], &["adjustment"]), ..NONE },
        "ionice" => Wrapper { spec: spec("t", "cn", &["ignore"], &["class", "classdata"]), ..NONE },
        "chrt" => Wrapper {
            spec: spec("abdfioRr", "TPD", &["batch", "fifo", "idle", "other", "rr"], &[]),
            operands: 1,
            ..NONE
        },
        "taskset" => Wrapper { spec: spec("c", "", &["cpu-list"], &[]), operands: 1, ..NONE },
        "timeout" => Wrapper {
            spec: spec("v", "ks", &["foreground", "preserve-status", "verbose"], &["kill-after", "signal"]),
            operands: 1,
            ..NONE
        },
        "stdbuf" => Wrapper { spec: spec("", "ioe", &[], &["input", "output", "error"]), ..NONE },
        "time" => Wrapper {
            spec: spec("apqvV", "fo", &["append", "portability", "quiet", "verbose"], &["format", "output"]),
            ..NONE
        },
        "chroot" => Wrapper {
            spec: spec("", "", &["skip-chdir"], &["groups", "userspec"]),
            operands: 1,
            shell_alone: true,
            ..NONE
        },
        "unshare" => Wrapper {
            spec: spec(
                "cCfimnprTuU",
                "SGRw",
                &[
                    "mount",
                    "uts",
                    "ipc",
                    "net",
                    "pid",
                    "user",
                    "cgroup",
                    "time",
                    "fork",
                    "map-root-user",
                    "map-current-user",
                    "mount-proc",
                ],
                &["root", "wd", "setuid", "setgid", "propagation"],
            ),
            shell_alone: true,
            ..NONE
        },
        "nsenter" => Wrapper {
            spec: Spec {
                optional: "muinpCUTrw",
                long_optional: &["mount", "uts", "ipc", "net", "pid", "cgroup", "user", "time", "root", "wd"],
                ..spec(
                    "aFe",
                    "tSG",
                    &["all", "no-fork", "preserve-credentials"],
                    &["target", "setuid", "setgid"],
                )
            },
            shell_alone: true,
            ..NONE
        },
        "setpriv" => Wrapper {
            spec: spec(
                "",
                "",
                &["clear-groups", "keep-groups", "init-groups", "no-new-privs", "reset-env"],
                &[
                    "reuid",
                    "regid",
                    "ruid",
                    "euid",
                    "rgid",
                    "egid",
                    "groups",
                    "inh-caps",
                    "ambient-caps",
                    "bounding-set",
                    "securebits",
                ],
            ),
            ..NONE
        },
        "prlimit" => Wrapper {
            spec: Spec {
                optional: "cdefilmnqrstuvxy",
                long_optional: &[
                    "nofile", "nproc", "core", "cpu", "as", "memlock", "stack", "fsize", "data", "rss",
                ],
                ..spec("", "op", &["noheadings", "raw", "verbose"], &["output", "pid"])
            },
            ..NONE
        },
        "systemd-cat" => Wrapper {
            spec: spec(
                "",
                "tp",
                &[],
                &["identifier", "priority", "stderr-priority", "level-prefix", "namespace"],
            ),
            ..NONE
        },
        "setuidgid" | "envuidgid" => Wrapper { operands: 1, ..NONE },
        "systemd-run" => Wrapper {
            spec: spec(
                "dGPqtS",
                "EHMpu",
                &[
                    "collect",
                    "pipe",
                    "pty",
                    "quiet",
                    "scope",
                    "user",
                    "system",
                    "wait",
                    "no-block",
                    "no-ask-password",
                    "same-dir",
                    "shell",
                ],
                &[
                    "unit",
                    "uid",
                    "gid",
                    "nice",
                    "slice",
                    "description",
                    "working-directory",
                    "setenv",
                    "on-calendar",
                    "on-active",
                ],
            ),
            ..NONE
        },
        "systemd-inhibit" => Wrapper { spec: spec("", "", &[], &["what", "who", "why", "mode"]), ..NONE },
        "strace" => Wrapper {
            spec: spec(
                "AcCdDfFhiknqrtTvVwxyYzZ",
                "abeEIoOpPsSuUX",
                &["follow-forks", "summary"],
                &["trace", "output", "attach"],
            ),
            ..NONE
        },
        "dumb-init" | "tini" | "gosu" | "su-exec" => Wrapper {
            spec: spec("sgv", "", &[], &[]),
            operands: usize::from(matches!(name, "gosu" | "su-exec")),
            ..NONE
        },
        "torsocks" | "proxychains" | "proxychains4" => Wrapper { spec: spec("q", "", &[], &[]), ..NONE },
        _ => return None,
    })
}
