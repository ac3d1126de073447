//! Commands that run in containers, and the removal of what these keep.

use super::super::argument::{Arg, Sort};
use super::super::found::FileEffect;
use super::super::walk::Walk;
use super::Call;
use super::options::{self, Spec};

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    match call.name() {
        "docker" | "podman" | "nerdctl" | "crictl" => engine(walk, call),
        "docker-compose" | "podman-compose" => compose(walk, call, call.args),
        "kubectl" | "oc" | "k3s" | "microk8s" => kubernetes(walk, call),
        _ => return false,
    }
    true
}

/// The arguments but those of a program in a container, which names its own files and is told by itself.
pub(super) fn outside<'a>(call: &Call<'a>) -> &'a [Arg] {
    let rest = |from: usize| call.args.get(from..).unwrap_or_default();
    let program = |at: usize| Some(at + 1 + exec_program(rest(at + 1))?);
    let composed = |from: usize| {
        let at = from + compose_verb(rest(from))?;
        if call.value(at) == Some("exec") { program(at) } else { None }
    };
    let inside = match call.name() {
        "docker" | "podman" | "nerdctl" | "crictl" => engine_verb(call).and_then(|at| match call.value(at) {
            Some("exec") => program(at),
            Some("compose") => composed(at + 1),
            _ => None,
        }),
        "docker-compose" | "podman-compose" => composed(0),
        "kubectl" | "oc" => {
            let spec = Spec {
                values: "ns",
                long_values: &["cluster", "context", "kubeconfig", "namespace", "server", "user"],
                ..Spec::NONE
            };
            let verb = options::leading(call.args, spec).and_then(|(_, at)| call.value(at));
            call.args.iter().position(|arg| arg.text == "--").filter(|_| verb == Some("exec"))
        }
        _ => None,
    };
    inside.and_then(|at| call.args.get(..at)).unwrap_or(call.args)
}

/// Where an engine is told what to do.
fn engine_verb(call: &Call<'_>) -> Option<usize> {
    let spec = Spec {
        flags: "D",
        values: "HclR",
        long_flags: &["debug", "tls"],
        long_values: &["context", "host", "log-level"],
        ..Spec::NONE
    };
    let (_, at) = options::leading(call.args, spec)?;
    Some(at + usize::from(call.value(at) == Some("container")))
}

fn engine(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let Some(at) = engine_verb(call) else {
        call.doubt(walk, "has options that are not analysed");
        return;
    };
    let rest = call.args.get(at + 1..).unwrap_or_default();
    match call.value(at).unwrap_or_default() {
        "exec" => exec(walk, call, rest),
        "run" | "create" | "build" | "buildx" | "commit" | "cp" | "import" | "load" | "plugin" | "swarm"
        | "stack" | "attach" | "unshare" | "machine" | "kube" | "play" | "generate" => {
            call.doubt(walk, "runs or builds what cannot be told from its arguments");
        }
        "compose" => compose(walk, call, rest),
        "volume" | "system" | "image" | "network" | "builder" => {
            let removes = rest.iter().any(|arg| matches!(arg.text.as_str(), "rm" | "remove" | "prune"));
            let data = matches!(call.value(at), Some("volume" | "system"));
            if removes {
                removed(walk, call, data);
            }
        }
        "rm" => removed(
            walk,
            call,
            rest.iter().any(|arg| super::super::argument::has_short(arg, 'v', "") || arg.text == "--volumes"),
        ),
        "rmi" | "prune" => removed(walk, call, false),
        _ => {}
    }
}

fn removed(walk: &mut Walk, call: &Call<'_>, whole: bool) {
    let what = call.args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
    let name = (format!("{}: {what}", call.name()), Sort::Exact);
    walk.found.file(FileEffect::REMOVE.device(whole), name, Some(call.program));
}

fn exec(walk: &mut Walk, call: &Call<'_>, args: &[Arg]) {
    match exec_program(args) {
        Some(at) => walk.run(args.get(at..).unwrap_or_default().to_vec(), call.input),
        None => call.doubt(walk, "runs a program behind options that are not analysed"),
    }
}

/// Where the program is that `exec` runs, behind the container.
fn exec_program(args: &[Arg]) -> Option<usize> {
    let spec = Spec {
        flags: "ditT",
        values: "euw",
        long_flags: &["interactive", "tty", "detach", "privileged", "no-TTY"],
        long_values: &["env", "user", "workdir", "index"],
        ..Spec::NONE
    };
    let (_, at) = options::leading(args, spec)?;
    (args.len() > at + 1).then_some(at + 1)
}

/// Where `compose` is told what to do.
fn compose_verb(args: &[Arg]) -> Option<usize> {
    let spec = Spec {
        flags: "",
        values: "fp",
        long_flags: &["compatibility", "version"],
        long_values: &[
            "file",
            "project-name",
            "project-directory",
            "profile",
            "env-file",
            "ansi",
            "progress",
        ],
        ..Spec::NONE
    };
    options::leading(args, spec).map(|(_, at)| at)
}

fn compose(walk: &mut Walk, call: &Call<'_>, args: &[Arg]) {
    let Some(at) = compose_verb(args).filter(|_| args.iter().all(|arg| arg.sort != Sort::Open)) else {
        call.doubt(walk, "has options that are not analysed");
        return;
    };
    let rest = args.get(at + 1..).unwrap_or_default();
    match args.get(at).map(|arg| arg.text.as_str()).unwrap_or_default() {
        "exec" => exec(walk, call, rest),
        "run" | "build" | "create" | "cp" => call.doubt(walk, "runs what cannot be told from its arguments"),
        "down" | "rm" => {
            let whole = rest.iter().any(|arg| {
                matches!(arg.text.as_str(), "-v" | "--volumes")
                    || super::super::argument::has_short(arg, 'v', "t")
            });
            removed(walk, call, whole);
        }
        _ => {}
    }
}

fn kubernetes(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let says = |words: &[&str]| call.args.iter().any(|arg| words.contains(&arg.text.as_str()));
    let behind = call.args.iter().position(|arg| arg.text == "--");
    if says(&["edit", "plugin", "debug", "run", "attach", "krew"]) {
        call.doubt(walk, "runs what cannot be told from its arguments");
    }
    match behind {
        Some(at) => walk.run(call.args.get(at + 1..).unwrap_or_default().to_vec(), call.input),
        None if says(&["exec"]) => call.doubt(walk, "runs a command that no `--` sets apart"),
        None => {}
    }
}
