//! The page.

#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a page is made once: its parts side by side are worth the strings between"
)]

use crate::output::utc;
use crate::replay::renderer::Part;
use crate::replay::table::Table;
use crate::report::html::{escape, json};
use crate::report::items::{CommandItem, Item};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use proxy_audit::query::{APPROVAL_VERDICTS, SessionDetail, VERDICTS};
use proxy_audit::verify::{Outcome, Report};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("style.css");
const PLAYER: &str = include_str!("player.js");

/// Most rows of one table.
const MAX_ROWS: usize = 500;

/// Most problems that are listed.
const MAX_PROBLEMS: usize = 20;

/// The whole page.
pub(super) fn page(session: &SessionDetail, items: &[Item], report: Option<&Report>) -> String {
    let start = session.summary.start;
    let title = format!("Session of {}", crate::sessions::user(&session.summary));
    let digest = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(PLAYER)
    );
    let timeline: String = items.iter().map(|item| event(item, start)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{head}{seal}{tiles}<h2>What happened</h2>\n{FILTER}<ol class=\"timeline\">\n{timeline}</ol>\n\
         {foot}</main>\n<script>{PLAYER}</script>\n</body>\n</html>\n",
        policy = policy.replace('"', ""),
        title = escape(&title),
        head = head(session, &title),
        seal = seal(report),
        tiles = tiles(session),
        foot = foot(session),
    )
}

const FILTER: &str = "<fieldset class=\"filter\" aria-label=\"Show\">\
    <label><input type=\"radio\" name=\"only\" checked>everything</label>\
    <label><input type=\"radio\" name=\"only\" id=\"only-deny\">denied</label>\
    <label><input type=\"radio\" name=\"only\" id=\"only-hold\">held</label>\
    <label><input type=\"radio\" name=\"only\" id=\"only-mask\">masked</label>\
    <label><input type=\"radio\" name=\"only\" id=\"only-error\">failed</label></fieldset>\n";

fn head(session: &SessionDetail, title: &str) -> String {
    let summary = &session.summary;
    let end = match (&summary.end, &summary.reason) {
        (Some(end), Some(reason)) => format!("{} ({reason})", utc(*end)),
        (Some(end), None) => utc(*end),
        (None, _) => "no end on record".to_owned(),
    };
    let mut facts = vec![
        ("User".to_owned(), summary.user.clone()),
        ("Groups".to_owned(), summary.groups.join(", ")),
        ("Resource".to_owned(), format!("{}/{} ({})", summary.namespace, summary.resource, summary.protocol)),
        ("Role".to_owned(), summary.role.clone()),
        ("Began".to_owned(), utc(summary.start)),
        ("Ended".to_owned(), end),
    ];
    facts.extend(summary.claims.iter().map(|(name, value)| (format!("Claim {name}"), value.clone())));
    facts.extend(session.opening.iter().map(|(name, value)| (name.clone(), value.clone())));
    let facts: String = facts
        .iter()
        .filter(|(_, value)| !value.trim_matches(['/', ' ', '(', ')']).is_empty())
        .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value)))
        .collect();
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"id mono\">{}</p>\n</header>\n<dl class=\"card facts\">\n{facts}</dl>\n",
        escape(title),
        escape(&summary.id)
    )
}

/// What verification said when the page was made.
fn seal(report: Option<&Report>) -> String {
    let Some(report) = report else {
        return "<h2>Is the record unchanged?</h2>\n<section class=\"card seal cannot_verify\"><div>\
                <strong>Not verified</strong><p>The log of this session was not found.</p></div></section>\n"
            .to_owned();
    };
    let (class, words) = match report.outcome {
        Outcome::Ok => ("ok", "The record is whole and unchanged"),
        Outcome::Tampered => ("tampered", "The record was changed"),
        Outcome::Incomplete => ("incomplete", "Part of the record is not there"),
        Outcome::CannotVerify => ("cannot_verify", "The record cannot be verified"),
    };
    let key = match (&report.key, report.key_pinned) {
        (Some(key), true) => format!("key {key}, as given"),
        (Some(key), false) => {
            format!("key {key}, found beside the records: who could change these could change it too")
        }
        (None, _) => "no key".to_owned(),
    };
    let problems: String = report
        .problems
        .iter()
        .take(MAX_PROBLEMS)
        .map(|problem| format!("<li>{}</li>", escape(&problem.what)))
        .collect();
    let problems = if problems.is_empty() { problems } else { format!("<ul>{problems}</ul>") };
    format!(
        "<h2>Is the record unchanged?</h2>\n<section class=\"card seal {class}\"><div><strong>{words}</strong>\
         <p>{} records of log {}; {} signed checkpoints, the largest over {} records; {}. Checked {} by portcullis {}. \
         This page is a view: what proves something is the log, or an evidence bundle of it.</p>{problems}</div>\
         </section>\n",
        report.records,
        escape(report.origin.as_deref().unwrap_or("unknown")),
        report.checkpoints,
        report.signed_size,
        escape(&key),
        utc(Timestamp::now()),
        env!("CARGO_PKG_VERSION"),
    )
}

fn tiles(session: &SessionDetail) -> String {
    let summary = &session.summary;
    let tiles: String = [
        (summary.statements, "commands"),
        (summary.allowed, "allowed"),
        (summary.denied, "denied"),
        (summary.held, "held for approval"),
        (summary.masked, "results masked"),
    ]
    .iter()
    .map(|(count, name)| format!("<li class=\"card\"><b>{count}</b><span>{name}</span></li>"))
    .collect();
    format!("<ul class=\"tiles\">{tiles}</ul>\n")
}

fn event(item: &Item, start: Timestamp) -> String {
    match item {
        Item::Note { time, tone, text } => {
            let class = if *tone == "error" { " is-error" } else { "" };
            format!(
                "<li class=\"event note{class}\">{}<div class=\"body\"><p class=\"soft {tone}\">{}</p></div></li>\n",
                moment(*time, start),
                escape(text)
            )
        }
        Item::Command(item) => command(item, start),
    }
}

/// The time of day, and since the start.
fn moment(time: Timestamp, start: Timestamp) -> String {
    let seconds = time.duration_since(start).as_secs_f64();
    let since = if seconds < 60.0 {
        format!("+{seconds:.3} s")
    } else {
        format!("+{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
    };
    let clock = utc(time);
    let clock = clock.split_once(' ').map_or(clock.as_str(), |(_, clock)| clock);
    format!("<time datetime=\"{time}\">{clock}<small>{since}</small></time>")
}

fn command(item: &CommandItem, start: Timestamp) -> String {
    let command = &item.command;
    let verdict = escape(&command.verdict);
    let outcome = command.outcome.as_deref().unwrap_or("none");
    let mut classes = vec!["event command".to_owned(), tone(&command.verdict).to_owned()];
    for (on, class) in [
        (command.verdict == "deny", "is-deny"),
        (command.verdict == "hold", "is-hold"),
        (!command.masked.is_empty(), "is-mask"),
        (matches!(outcome, "error" | "aborted"), "is-error"),
    ] {
        if on {
            classes.push(class.to_owned());
        }
    }
    format!(
        "<li class=\"{}\" id=\"command-{number}-{sequence}\">{}<div class=\"body\">\n\
         <p class=\"head\"><a class=\"number\" href=\"#command-{number}-{sequence}\">#{number}</a>\
         <span class=\"badge {}\">{verdict}</span>{}</p>\n<pre class=\"typed\">{}{}</pre>\n{}{}{}{}</div></li>\n",
        classes.join(" "),
        moment(command.time, start),
        tone(&command.verdict),
        facts(item),
        escape(&item.typed.0),
        escape(&item.typed.1),
        approvals(item, start),
        answer(item),
        terminal(item),
        effects(item),
        number = command.number,
        sequence = command.sequence,
    )
}

/// Verdicts and outcomes that have a colour.
fn tone(word: &str) -> &'static str {
    const OTHERS: [&str; 5] = ["ok", "error", "refused", "aborted", "mask"];
    let mut known = VERDICTS.into_iter().chain(APPROVAL_VERDICTS).chain(OTHERS);
    known.find(|known| *known == word).unwrap_or_default()
}

fn facts(item: &CommandItem) -> String {
    let command = &item.command;
    let mut facts = Vec::new();
    if !command.rule.is_empty() {
        facts.push(format!("<span class=\"soft\">by {}</span>", escape(&command.rule)));
    }
    if let Some(outcome) = &command.outcome {
        let code = command.status_code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
        facts.push(format!(
            "<span class=\"badge {}\">{}{}</span>",
            tone(outcome),
            escape(outcome),
            escape(&code)
        ));
    }
    if let Some(rows) = command.rows {
        facts.push(format!("<span class=\"soft\">{rows} rows</span>"));
    }
    if let Some(micros) = command.duration_us.and_then(|micros| u32::try_from(micros).ok()) {
        facts.push(format!("<span class=\"soft\">{:.1} ms</span>", f64::from(micros) / 1_000.0));
    }
    facts.extend(
        command.masked.iter().map(|masked| format!("<span class=\"badge mask\">{}</span>", escape(masked))),
    );
    facts.concat()
}

fn approvals(item: &CommandItem, start: Timestamp) -> String {
    item.approvals
        .iter()
        .map(|(time, verdict, text)| {
            let since = time.duration_since(start).as_secs_f64();
            format!(
                "<p><span class=\"badge {}\">{}</span> <span class=\"soft\">{} (+{since:.1} s)</span></p>\n",
                tone(verdict),
                escape(verdict),
                escape(text)
            )
        })
        .collect()
}

fn answer(item: &CommandItem) -> String {
    let mut out = String::new();
    for part in &item.parts {
        match part {
            Part::Text(text) => out.push_str(&format!("<pre>{}</pre>\n", escape(text))),
            Part::Table(result) => out.push_str(&table(result)),
            Part::Stream(_) => {}
        }
    }
    if item.cut {
        out.push_str("<p class=\"soft\">The rest is on record, and was left out of this page.</p>\n");
    }
    if item.command.truncated {
        out.push_str("<p class=\"soft\">The rest of the result was not recorded.</p>\n");
    }
    out
}

fn table(table: &Table) -> String {
    let right = |number: usize| table.heads.get(number).is_some_and(|head| head.right);
    let class = |number| if right(number) { " class=\"right\"" } else { "" };
    let heads: String = table
        .heads
        .iter()
        .enumerate()
        .map(|(number, head)| format!("<th scope=\"col\"{}>{}</th>", class(number), escape(&head.name)))
        .collect();
    let rows: String = table
        .rows
        .iter()
        .take(MAX_ROWS)
        .map(|row| {
            let cells: String = row
                .iter()
                .enumerate()
                .map(|(number, cell)| format!("<td{}>{}</td>", class(number), escape(cell)))
                .collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    let more = table.rows.len().saturating_sub(MAX_ROWS);
    let more = if more > 0 {
        format!("<p class=\"soft\">and {more} more rows, on record</p>\n")
    } else {
        String::new()
    };
    format!(
        "<div class=\"rows\" tabindex=\"0\"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n{more}"
    )
}

fn terminal(item: &CommandItem) -> String {
    let Some(terminal) = &item.terminal else { return String::new() };
    format!(
        "<figure class=\"terminal\"><pre tabindex=\"0\">{}</pre><script type=\"application/json\">{}</script></figure>\n",
        escape(&terminal.lines),
        json(&terminal.recording())
    )
}

fn effects(item: &CommandItem) -> String {
    let command = &item.command;
    let lines: Vec<String> = command
        .effects
        .iter()
        .cloned()
        .chain(
            command.observed.iter().map(|observed| format!("Observe policies would have said: {observed}")),
        )
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "<details><summary>{}, record {}</summary><pre>{}</pre></details>\n",
        if command.effects.len() == 1 {
            "1 effect".to_owned()
        } else {
            format!("{} effects", command.effects.len())
        },
        command.sequence,
        escape(&lines.join("\n"))
    )
}

fn foot(session: &SessionDetail) -> String {
    format!(
        "<footer><p>Values that were masked for the client are masked here: the record never held them. Made by \
         portcullis {} from log {}.</p></footer>\n",
        env!("CARGO_PKG_VERSION"),
        escape(&session.summary.log)
    )
}
