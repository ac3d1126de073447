//! Interpreters of languages that are not analysed: a script in a file is a program with a name, code in an argument or
//! from an input is unknown.

use super::super::argument::{Arg, Sort, is_long};
use super::super::walk::{Input, Walk};
use super::{Call, shells};

/// Modules that run code in their arguments, in their input, or in a file that is no script.
const RUN: &[&str] = &[
    "timeit", "pdb", "code", "cProfile", "profile", "trace", "asyncio", "runpy", "pickle", "doctest",
    "idlelib", "IPython", "pyrepl", "sqlite3",
];

/// Whether it is one of them.
pub(super) fn run(walk: &mut Walk, call: &Call<'_>) -> bool {
    let name = call.name().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    // options that neither hold code nor load any
    let (plain, module): (&[&str], Option<&str>) = match name {
        "python" | "pypy" => (&["-u", "-B", "-E", "-I", "-s", "-S", "-O", "-OO", "-b", "-q"], Some("-m")),
        "perl" => (&["-w", "-W", "-T", "-t"], None),
        "ruby" => (&["-w", "-W0", "-W1", "-W2"], None),
        "php" => (&["-q", "-n"], None),
        "node" | "nodejs" => (&["--no-warnings", "--trace-warnings"], None),
        "lua" | "luajit" | "tclsh" | "Rscript" | "wish" | "julia" | "guile" | "osascript" | "groovy"
        | "elixir" | "escript" | "ghci" | "runghc" | "irb" | "ipython" | "jshell" | "erl" | "iex"
        | "deno" | "bun" | "R" | "bc" | "dc" | "m" | "swipl" | "sbcl" | "clisp" | "scala" | "kotlin"
        | "octave" | "gnuplot" | "jrunscript" => (&[], None),
        _ => return false,
    };
    if name == "m" && call.name() != "m4" {
        return false;
    }
    if matches!(call.value(0), Some("-V" | "--version" | "-v" | "-version" | "-h" | "--help"))
        && call.args.len() == 1
    {
        return true;
    }
    for arg in call.args {
        if arg.sort != Sort::Exact {
            call.doubt(walk, &format!("runs `{}`, which is not literal", arg.text));
            return true;
        }
        if module == Some(arg.text.as_str()) {
            module_of(walk, call);
            return true;
        }
        if !arg.is_option() {
            shells::script(walk, call, &Arg::exact(arg.text.clone()));
            return true;
        }
        if !plain.contains(&arg.text.as_str()) {
            call.doubt(walk, "runs code that is given to it, which is not analysed");
            return true;
        }
    }
    match call.input {
        Input::File(path) => shells::script(walk, call, &Arg::exact(path.clone())),
        Input::Client | Input::Computed | Input::Paths(_) | Input::Literal(_)
            if matches!(call.name(), "bc" | "dc") =>
        {
            // without `!`, which only dc has, they calculate
            if call.name() == "dc" {
                call.doubt(walk, "runs what it reads from its input");
            }
        }
        Input::Client | Input::Computed | Input::Paths(_) | Input::Literal(_) => {
            call.doubt(walk, "runs what it reads from its input, which is not analysed");
        }
    }
    true
}

/// What follows names a module, as a path names a script.
fn module_of(walk: &mut Walk, call: &Call<'_>) {
    let literal = call.args.iter().all(|arg| arg.sort != Sort::Open);
    if !literal || call.args.iter().any(|arg| RUN.contains(&arg.text.as_str())) {
        call.doubt(walk, "runs a module with arguments that may be code");
    }
    if call.args.iter().any(|arg| is_long(arg, "clear", 2)) {
        call.doubt(walk, "may empty a directory");
    }
}
