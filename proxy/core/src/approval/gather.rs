//! Commands that arrive together are asked about together: docs/adr/0011.
//!
//! The request lists every one of them and its approval is for these and no other. What arrives later is asked about
//! later. A burst is of one session, one rule and one kind of command, and is divided where a request could not show
//! all of it.

#[cfg(test)]
mod tests;

use super::{ApprovalError, Approvals, Member, Outcome, Pending, Question};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

/// Asks about commands of one burst together, wherever requests are kept.
#[derive(Debug)]
pub struct Gathering {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Approvals>,
    bursts: Mutex<HashMap<Key, Vec<Waiting>>>,
}

/// What the commands of a burst have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    session: String,
    rule: (String, i64, String),
    burst: String,
}

/// A question that waits for others of its burst.
#[derive(Debug)]
struct Waiting {
    question: Question,
    answer: oneshot::Sender<Result<Box<dyn Pending>, ApprovalError>>,
}

impl Gathering {
    /// Asks in `store`.
    pub fn new(store: Arc<dyn Approvals>) -> Self {
        Self { shared: Arc::new(Shared { store, bursts: Mutex::default() }) }
    }
}

#[async_trait]
impl Approvals for Gathering {
    /// A question without a burst is asked at once, others a moment after the last of them.
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let Some(burst) = question.burst.clone() else { return self.shared.store.ask(question).await };
        let rule = &question.rule;
        let rule = (rule.policy.clone(), rule.generation, rule.rule.clone());
        let key = Key { session: question.session.clone(), rule, burst };
        let (answer, asked) = oneshot::channel();
        let waiting = Waiting { question, answer };
        if self.shared.join(&key, waiting) {
            tokio::spawn(Arc::clone(&self.shared).collect(key));
        }
        asked.await.unwrap_or_else(|_gone| {
            Err(ApprovalError { step: "the approval request was not made".to_owned(), source: None })
        })
    }
}

impl Shared {
    /// Whether it is the first of its burst.
    fn join(&self, key: &Key, waiting: Waiting) -> bool {
        let mut bursts = self.bursts();
        let burst = bursts.entry(key.clone()).or_default();
        burst.push(waiting);
        burst.len() == 1
    }

    /// Asks once nobody has come for a moment.
    async fn collect(self: Arc<Self>, key: Key) {
        let first = Instant::now();
        let mut seen = 1;
        loop {
            tokio::time::sleep(QUIET).await;
            let is_late = first.elapsed() >= LONGEST;
            if let Some(burst) = self.take(&key, &mut seen, is_late) {
                return self.ask(burst).await;
            }
        }
    }

    /// The burst, if nobody has come since so many were `seen`, or if it is late.
    fn take(&self, key: &Key, seen: &mut usize, is_late: bool) -> Option<Vec<Waiting>> {
        let mut bursts = self.bursts();
        let count = bursts.get(key).map_or(0, Vec::len);
        if count == *seen || is_late {
            return Some(bursts.remove(key).unwrap_or_default());
        }
        *seen = count;
        None
    }

    async fn ask(&self, mut burst: Vec<Waiting>) {
        burst.retain(|waiting| !waiting.answer.is_closed());
        for part in divided(burst) {
            let (questions, answers): (Vec<_>, Vec<_>) =
                part.into_iter().map(|waiting| (waiting.question, waiting.answer)).unzip();
            let Some(question) = together(questions) else { continue };
            tell(self.store.ask(question).await, answers);
        }
    }

    fn bursts(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        // Lists: whoever panicked left them whole.
        self.bursts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands one answer to everybody who asked.
fn tell(
    asked: Result<Box<dyn Pending>, ApprovalError>,
    mut answers: Vec<oneshot::Sender<Result<Box<dyn Pending>, ApprovalError>>>,
) {
    let pending = match asked {
        Ok(pending) => pending,
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                // whoever is gone is not told
                drop(answer.send(Err(again(&error))));
            }
            return;
        }
    };
    if answers.len() == 1 {
        // dropped with whoever is gone, which withdraws it
        drop(answers.pop().map(|answer| answer.send(Ok(pending))));
        return;
    }
    let (told, news) = watch::channel(Told::Nothing);
    let common = Common {
        name: pending.name().to_owned(),
        uid: pending.uid().to_owned(),
        advice: pending.advice(),
        news,
        partings: Arc::default(),
    };
    let partings = Arc::clone(&common.partings);
    for answer in answers {
        let part = Part { common: common.clone(), is_over: false };
        drop(answer.send(Ok(Box::new(part) as Box<dyn Pending>)));
    }
    tokio::spawn(follow(pending, told, partings));
}

/// Waits as long as anybody of the burst does, or until the first of them waits no longer: an approval that was consumed
/// after that would be lost to the one who was told to come back. Then the request is dropped, which withdraws it unless
/// one of them was told so.
async fn follow(mut pending: Box<dyn Pending>, told: watch::Sender<Told>, partings: Arc<Partings>) {
    let ended = tokio::select! {
        // what has ended is told to whoever stops at that moment
        biased;
        outcome = pending.outcome() => Some(outcome),
        () = told.closed() => None,
        () = partings.stop.notified() => tokio::select! {
            ended = pending.stop() => ended,
            () = told.closed() => None,
        },
    };
    if let Some(outcome) = ended {
        told.send_replace(Told::Ended(outcome.map_err(Arc::new)));
        return;
    }
    told.send_replace(Told::Stopped);
    told.closed().await;
    if partings.is_left.load(Ordering::Acquire) {
        pending.leave();
    }
}

/// What the commands of one request are told.
#[derive(Debug)]
enum Told {
    Nothing,
    /// Nobody waits for a decision any more: one of them stopped.
    Stopped,
    Ended(Result<Outcome, Arc<ApprovalError>>),
}

/// What commands of one request say when they go.
#[derive(Debug, Default)]
struct Partings {
    /// One of them waits no longer.
    stop: Notify,
    /// One of them was told to repeat its command.
    is_left: AtomicBool,
}

/// What the commands of one request share.
#[derive(Clone, Debug)]
struct Common {
    name: String,
    uid: String,
    advice: String,
    news: watch::Receiver<Told>,
    partings: Arc<Partings>,
}

/// One command's part in a request.
#[derive(Debug)]
struct Part {
    common: Common,
    is_over: bool,
}

#[async_trait]
impl Pending for Part {
    fn name(&self) -> &str {
        &self.common.name
    }

    fn uid(&self) -> &str {
        &self.common.uid
    }

    fn advice(&self) -> String {
        self.common.advice.clone()
    }

    fn leave(&mut self) {
        self.common.partings.is_left.store(true, Ordering::Release);
    }

    /// Stops for the whole burst. What the others wait for after that does not come; they have waited as long as this
    /// one but for a moment.
    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        if self.is_over {
            return None;
        }
        self.common.partings.stop.notify_one();
        self.told(|told| !matches!(told, Told::Nothing)).await
    }

    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        if self.is_over {
            // It is returned once.
            return Ok(Outcome::Withdrawn);
        }
        let ended = self.told(|told| matches!(told, Told::Ended(_))).await;
        ended.unwrap_or_else(|| Err(unfollowed()))
    }
}

impl Part {
    /// How the request ended, if that is what it is told of.
    async fn told(&mut self, is_it: impl Fn(&Told) -> bool) -> Option<Result<Outcome, ApprovalError>> {
        let outcome = match self.common.news.wait_for(|told| is_it(told)).await.as_deref() {
            Ok(Told::Ended(Ok(outcome))) => Ok(outcome.clone()),
            Ok(Told::Ended(Err(error))) => Err(again(error)),
            Ok(Told::Stopped | Told::Nothing) => return None,
            Err(_) => Err(unfollowed()),
        };
        self.is_over = true;
        Some(outcome)
    }
}

/// Whoever followed the request is gone.
fn unfollowed() -> ApprovalError {
    ApprovalError { step: "follow approval request".to_owned(), source: None }
}

/// The same error for one more.
fn again(error: &Arc<ApprovalError>) -> ApprovalError {
    ApprovalError { step: error.step.clone(), source: Some(Box::new(Arc::clone(error))) }
}

/// Parts of a burst that one request can show. In an order of what they do, so that a repetition is divided alike.
fn divided(mut burst: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    burst.sort_by(|a, b| a.question.effect_digest.cmp(&b.question.effect_digest));
    let mut parts: Vec<Vec<Waiting>> = Vec::new();
    let (mut characters, mut effects) = (0_usize, 0_usize);
    for waiting in burst {
        let text = waiting
            .question
            .text
            .chars()
            .count()
            .saturating_add(waiting.question.text.lines().count().saturating_mul(16));
        let lines = waiting.question.effects.len();
        characters = characters.saturating_add(text);
        effects = effects.saturating_add(lines);
        match parts.last_mut() {
            Some(part) if part.len() < MEMBERS && characters <= TEXT_CHARACTERS && effects <= EFFECTS => {
                part.push(waiting);
            }
            Some(_) | None => {
                (characters, effects) = (text, lines);
                parts.push(vec![waiting]);
            }
        }
    }
    parts
}

/// One question for all. `None`: there is nothing to ask.
fn together(mut questions: Vec<Question>) -> Option<Question> {
    if questions.len() <= 1 {
        return questions.pop();
    }
    let count = questions.len();
    let lines = |text: &dyn Fn(&Question) -> Option<String>| {
        let numbered = questions.iter().enumerate().filter_map(|(at, question)| {
            // a line of one command must not look like the next command
            let text = text(question)?.replace('\n', "\n    ");
            Some(format!("[{}/{count}] {text}", at.saturating_add(1)))
        });
        numbered.collect::<Vec<_>>().join("\n")
    };
    let text = lines(&|question| Some(question.text.clone()));
    let estimate = lines(&|question| question.estimate.clone());
    let digest = |digest: &dyn Fn(&Question) -> String| list_digest(questions.iter().map(digest).collect());
    let mut effects: Vec<String> = Vec::new();
    for effect in questions.iter().flat_map(|question| &question.effects) {
        if !effects.contains(effect) {
            effects.push(effect.clone());
        }
    }
    let summaries: Vec<&str> = questions.iter().map(|question| question.summary.as_str()).collect();
    let member = |question: &Question| Member {
        summary: question.summary.clone(),
        digest: question.digest.clone(),
        effect_digest: question.effect_digest.clone(),
    };
    let whole = Question {
        summary: format!("{count} commands: {}", summaries.join("; ")),
        text: format!("{count} commands; an approval is for all of these and no other\n{text}"),
        effects,
        digest: digest(&|question| question.digest.clone()),
        effect_digest: digest(&|question| question.effect_digest.clone()),
        estimate: (!estimate.is_empty()).then_some(estimate),
        members: questions.iter().map(member).collect(),
        ..questions.first()?.clone()
    };
    Some(whole)
}

/// Digest of a list of keyed digests, whatever their order.
fn list_digest(mut digests: Vec<String>) -> String {
    digests.sort();
    let mut hash = Sha256::new_with_prefix(b"portcullis burst\0");
    for digest in &digests {
        hash.update((digest.len() as u64).to_be_bytes());
        hash.update(digest.as_bytes());
    }
    const_hex::encode(hash.finalize())
}

/// So long nobody more of a burst may have come. A person takes seconds to look.
const QUIET: Duration = Duration::from_millis(250);
/// So long a burst is waited for, however many still come.
const LONGEST: Duration = Duration::from_secs(2);
/// Most commands of one request: more than a node has pods.
const MEMBERS: usize = 128;
/// Most characters of the text of one request, as an `ApprovalRequest` shows it, without its first line.
const TEXT_CHARACTERS: usize = 16_000;
/// Most effects of one request, as above.
const EFFECTS: usize = 256;
