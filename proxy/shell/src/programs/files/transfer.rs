//! `curl` and `wget`. Source: curl(1), wget(1).

mod table;

use super::super::super::argument::Arg;
use super::super::super::found::FileEffect;
use super::super::super::walk::Walk;
use super::super::Call;
use super::super::options::{self, Given};

/// What is not the name of a file: input, output, or nothing.
const STREAMS: [&str; 4] = ["", "-", "%", "."];

/// Tells what they read and write.
pub(super) fn fetch(walk: &mut Walk, call: &Call<'_>) {
    if !call.demands_literals(walk) {
        return;
    }
    let wget = call.name() == "wget";
    let spec = if wget { table::WGET } else { table::CURL };
    let Some((given, operands)) = options::parsed(call.args, spec) else {
        call.doubt(walk, "has options that are not analysed");
        return;
    };
    let (written, read) =
        if wget { (table::WGET_WRITES, table::WGET_READS) } else { (table::CURL_WRITES, table::CURL_READS) };
    touched(walk, call, options::values(&given, written), FileEffect::WRITE);
    touched(walk, call, options::values(&given, read), FileEffect::READ);
    // keys are told by what they hash to, or by a file of one
    let keys = options::values(&given, &["pinnedpubkey", "proxy-pinnedpubkey"]);
    touched(walk, call, keys.filter(|key| !key.text.starts_with("sha256//")), FileEffect::READ);
    let urls: Vec<&Arg> = operands.iter().chain(options::values(&given, &["url"])).collect();
    if saves_here(&given, wget) {
        let dirs: Vec<&Arg> = options::values(&given, &["P", "directory-prefix", "output-dir"]).collect();
        let here = Arg::exact(".");
        // each part of the line of `curl` may have its own
        for dir in dirs.iter().copied().chain(Some(&here).filter(|_| dirs.is_empty() || !wget)) {
            walk.file_touch(dir, FileEffect::WRITE.below(true), Some(call.program));
        }
    }
    if !wget {
        sent(walk, call, &given);
        if is_odd(&given, &urls) {
            call.doubt(walk, "names files in a way that is not analysed");
        }
    }
    for url in urls {
        local(walk, call, &url.text);
    }
}

fn touched<'a>(walk: &mut Walk, call: &Call<'_>, files: impl Iterator<Item = &'a Arg>, done: FileEffect) {
    for file in files.filter(|file| !STREAMS.contains(&file.text.as_str())) {
        walk.file_touch(file, done, Some(call.program));
    }
}

/// Whether files are written below a directory, under names that come from elsewhere.
fn saves_here(given: &[Given], wget: bool) -> bool {
    if wget {
        // `--spider=off` is none
        let looks = given.iter().any(|option| option.name == "spider" && option.value.is_none());
        let only_looks = looks && !options::has(given, &["no-spider"]);
        return !only_looks && !options::has(given, &["O", "output-document"]);
    }
    options::has(given, &["O", "remote-name", "remote-name-all"])
        || options::has(given, &["o", "output"]) && options::has(given, &["output-dir"])
}

/// Whether `curl` names files in ways that are not told: by what a URL matches, in its formats, or by what a word
/// without a scheme means.
fn is_odd(given: &[Given], urls: &[&Arg]) -> bool {
    let values = |names: &'static [&'static str]| {
        given
            .iter()
            .filter(move |option| names.contains(&option.name.as_str()))
            .filter_map(|option| option.value.as_ref())
    };
    let matches = urls.iter().any(|url| url.text.contains(['{', '[']));
    let replaced =
        |text: &str| text.split('#').skip(1).any(|behind| behind.starts_with(|c: char| c.is_ascii_digit()));
    values(&["T", "upload-file"]).any(|file| file.text.contains(['{', '[', '}', ']']))
        || values(&["o", "output"]).any(|file| matches && replaced(&file.text))
        || values(&["w", "write-out"]).any(|format| {
            format.text.starts_with('@') || format.text.to_ascii_lowercase().contains("%output{")
        })
        || values(&["url"]).any(|url| url.text.starts_with('@'))
        || values(&["proto-default"])
            .any(|scheme| !matches!(scheme.text.to_ascii_lowercase().as_str(), "http" | "https" | "ftp"))
        || values(&["proto-redir"]).any(|schemes| leads_to_files(&schemes.text))
}

/// Whether a redirection of a server may lead to a file: `=file`, `+all`.
fn leads_to_files(schemes: &str) -> bool {
    schemes.split(',').any(|scheme| {
        let name = scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let denied = scheme.strip_suffix(name).is_some_and(|sign| sign.ends_with('-'));
        !denied && matches!(name.to_ascii_lowercase().as_str(), "file" | "all")
    })
}

/// The files that `curl` is told to send, or to read what it sends from.
fn sent(walk: &mut Walk, call: &Call<'_>, given: &[Given]) {
    let mut files: Vec<&str> = Vec::new();
    for data in options::values(given, table::CURL_DATA) {
        files.extend(data.text.strip_prefix('@'));
    }
    // `name@file`; behind a `=` it is the value itself
    for data in
        options::values(given, &["data-urlencode", "url-query"]).filter(|data| !data.text.contains('='))
    {
        files.extend(data.text.split_once('@').map(|(_, file)| file));
    }
    for cookie in options::values(given, &["b", "cookie"]) {
        let file = cookie.text.strip_prefix('@');
        files.extend(file.or_else(|| Some(cookie.text.as_str()).filter(|text| !text.contains('='))));
    }
    for certificate in options::values(given, table::CURL_CERTIFICATES) {
        // a password may stand behind it
        files.extend(certificate.text.split_once(':').map(|(file, _)| file));
        files.push(&certificate.text);
    }
    for form in options::values(given, &["F", "form"]) {
        match form_files(&form.text) {
            Some(form) => files.extend(form),
            None => call.doubt(walk, "sends files in a way that is not analysed"),
        }
    }
    let files: Vec<Arg> = files.into_iter().map(Arg::exact).collect();
    touched(walk, call, files.iter(), FileEffect::READ);
}

/// The files that a field of a form is read from: `name=@file,file;type=…`, `name=<file`. `None`: it may name others.
fn form_files(form: &str) -> Option<Vec<&str>> {
    let lower = form.to_ascii_lowercase();
    if lower.contains("headers=@") || lower.contains("headers=<") {
        return None;
    }
    let content = form.split_once('=').map_or(form, |(_, content)| content);
    let (files, several) = match (content.strip_prefix('@'), content.strip_prefix('<')) {
        (Some(files), _) => (files, true),
        (None, Some(file)) => (file, false),
        (None, None) => return Some(Vec::new()),
    };
    if files.contains(['"', '\\']) {
        return None;
    }
    let parts: Vec<&str> = if several { files.split(',').collect() } else { vec![files] };
    Some(parts.into_iter().filter_map(|part| part.split(';').next()).map(str::trim).collect())
}

/// The file that a URL names: `file:/x`, `FILE:///x`, `file://localhost/x`.
fn local(walk: &mut Walk, call: &Call<'_>, url: &str) {
    let Some((scheme, rest)) = url.split_once(':') else { return };
    let path = rest
        .strip_prefix("//localhost")
        .or_else(|| rest.strip_prefix("//127.0.0.1"))
        .or_else(|| rest.strip_prefix("//"));
    let path = path.unwrap_or(rest);
    if scheme.contains(['{', '['])
        || scheme.eq_ignore_ascii_case("file")
            && (!path.starts_with('/') || path.contains(['%', '{', '[', '?', '#', '\\']))
    {
        call.doubt(walk, "reads a file by a URL that is not analysed");
    } else if scheme.eq_ignore_ascii_case("file") {
        walk.file_touch(&Arg::exact(path), FileEffect::READ, Some(call.program));
    }
}
