//! Bursts.

use super::*;
use futures_util::FutureExt as _;
use proxy_policy::{ApprovalTerms, Identity, OnDisconnect, RuleRef};

/// Notes what is asked; approves when told.
#[derive(Debug)]
struct Store {
    asked: Mutex<Vec<Question>>,
    decision: watch::Sender<Option<Outcome>>,
    gone: Arc<Mutex<usize>>,
    left: Arc<Mutex<usize>>,
    consumed: Arc<Mutex<usize>>,
}

#[derive(Debug)]
struct One {
    decision: watch::Receiver<Option<Outcome>>,
    gone: Arc<Mutex<usize>>,
    left: Arc<Mutex<usize>>,
    consumed: Arc<Mutex<usize>>,
    /// When the approval will have been consumed.
    claimed: Option<Instant>,
}

/// So long it takes to consume an approval.
const CLAIM: Duration = Duration::from_secs(1);

#[async_trait]
impl Approvals for Store {
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        self.asked.lock().unwrap().push(question);
        Ok(Box::new(One {
            decision: self.decision.subscribe(),
            gone: Arc::clone(&self.gone),
            left: Arc::clone(&self.left),
            consumed: Arc::clone(&self.consumed),
            claimed: None,
        }))
    }
}

#[async_trait]
impl Pending for One {
    fn name(&self) -> &'static str {
        "cluster-1"
    }
    fn uid(&self) -> &'static str {
        "uid-1"
    }
    fn leave(&mut self) {
        *self.left.lock().unwrap() += 1;
    }
    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        self.claimed?;
        Some(self.outcome().await)
    }
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        let outcome = self.decision.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let claimed = *self.claimed.get_or_insert_with(|| Instant::now() + CLAIM);
        tokio::time::sleep_until(claimed).await;
        *self.consumed.lock().unwrap() += 1;
        Ok(outcome)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        *self.gone.lock().unwrap() += 1;
    }
}

fn store() -> (Arc<Store>, Gathering) {
    let store = Arc::new(Store {
        asked: Mutex::default(),
        decision: watch::Sender::new(None),
        gone: Arc::default(),
        left: Arc::default(),
        consumed: Arc::default(),
    });
    let gathering = Gathering::new(Arc::clone(&store) as Arc<dyn Approvals>);
    (store, gathering)
}

fn question(session: &str, rule: &str, text: &str, burst: Option<&str>) -> Question {
    let requester = Identity {
        issuer: "https://idp.example.com".to_owned(),
        subject: "bot".to_owned(),
        username: "bot".to_owned(),
        groups: Vec::new(),
        claims: serde_json::Map::new(),
    };
    Question {
        resource: "cluster".to_owned(),
        requester: Arc::new(requester),
        session: session.to_owned(),
        number: 1,
        protocol: "any",
        summary: text.to_owned(),
        text: text.to_owned(),
        effects: vec![format!("delete {text}")],
        digest: format!("d-{text}"),
        effect_digest: format!("e-{text}"),
        in_transaction: false,
        estimate: None,
        members: Vec::new(),
        is_second_try: false,
        is_repeatable: false,
        burst: burst.map(str::to_owned),
        rule: RuleRef { policy: "agents".to_owned(), generation: 1, rule: rule.to_owned() },
        terms: ApprovalTerms {
            timeout: Duration::from_mins(1),
            reviewers: Vec::new(),
            on_disconnect: OnDisconnect::Claimable,
        },
    }
}

fn asked(store: &Store) -> Vec<Vec<String>> {
    let asked = store.asked.lock().unwrap();
    let members = |question: &Question| match &question.members[..] {
        [] => vec![question.summary.clone()],
        members => members.iter().map(|member| member.summary.clone()).collect(),
    };
    asked.iter().map(members).collect()
}

#[tokio::test(start_paused = true)]
async fn what_arrives_together_is_one_request_that_shows_all_of_it_and_later_comers_are_not_in_it() {
    let (store, gathering) = store();
    let burst = Some("evictions");
    let ask = |text: &str| gathering.ask(question("s", "r", text, burst));
    let (a, b, c) = tokio::join!(ask("a"), ask("b\n[2/3] x"), ask("c"));
    let later = ask("d").await.unwrap();
    assert_eq!(asked(&store), [vec!["a", "b\n[2/3] x", "c"], vec!["d"]]);
    let whole = store.asked.lock().unwrap()[0].clone();
    assert_eq!(
        whole.text,
        "3 commands; an approval is for all of these and no other\n[1/3] a\n[2/3] b\n    [2/3] x\n[3/3] c"
    );
    assert_eq!(whole.effects.len(), 3);
    assert!(![&whole.digest, &whole.effect_digest].iter().any(|digest| digest.contains('-')));

    let yes = Outcome::Approved { approvers: vec!["ann".to_owned()] };
    store.decision.send_replace(Some(yes.clone()));
    for pending in [a, b, c] {
        let mut pending = pending.unwrap();
        assert_eq!((pending.name(), pending.uid()), ("cluster-1", "uid-1"));
        assert_eq!(pending.outcome().await.unwrap(), yes);
        assert_eq!(pending.outcome().await.unwrap(), Outcome::Withdrawn, "it is told once");
    }
    drop(later);
}

#[tokio::test(start_paused = true)]
async fn another_session_rule_or_kind_of_command_is_another_request() {
    let (store, gathering) = store();
    let questions = [
        question("s", "r", "a", Some("x")),
        question("t", "r", "b", Some("x")),
        question("s", "q", "c", Some("x")),
        question("s", "r", "d", Some("y")),
        question("s", "r", "e", None),
    ];
    futures_util::future::join_all(questions.map(|question| gathering.ask(question))).await;
    let mut all = asked(&store);
    all.sort();
    assert_eq!(all, [["a"], ["b"], ["c"], ["d"], ["e"]]);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_no_more_than_it_can_show_and_a_repetition_is_divided_alike() {
    let (store, gathering) = store();
    let all = |reversed: bool| {
        let mut numbers: Vec<u32> = (0..300).collect();
        if reversed {
            numbers.reverse();
        }
        let one = |number: u32| gathering.ask(question("s", "r", &format!("{number:03}"), Some("x")));
        futures_util::future::join_all(numbers.into_iter().map(one).collect::<Vec<_>>())
    };
    all(false).await;
    all(true).await;
    let asked = asked(&store);
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44, 128, 128, 44]);
    assert_eq!(asked[..3], asked[3..]);
    store.asked.lock().unwrap().clear();

    let long = |text: &str| gathering.ask(question("s", "r", &text.repeat(6_000), Some("x")));
    let _pending = tokio::join!(long("a"), long("b"), long("c"));
    let texts: Vec<_> = store.asked.lock().unwrap().iter().map(|q| q.text.len()).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|length| *length <= 16 * 1024), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_gone_is_not_asked_about_and_the_last_to_go_withdraws() {
    let (store, gathering) = store();
    let ask = |text: &str| gathering.ask(question("s", "r", text, Some("x")));
    let mut gone = Box::pin(ask("gone"));
    assert!((&mut gone).now_or_never().is_none());
    drop(gone);
    let (a, b) = tokio::join!(ask("a"), ask("b"));
    assert_eq!(asked(&store), [["a", "b"]]);
    drop(a);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*store.gone.lock().unwrap(), 0, "somebody waits");
    drop(b);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*store.gone.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_stays_open_if_anybody_of_it_was_told_to_come_back() {
    let (store, gathering) = store();
    let ask = |text: &str| gathering.ask(question("s", "r", text, Some("x")));
    let (a, b) = tokio::join!(ask("a"), ask("b"));
    a.unwrap().leave();
    drop(b);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((*store.left.lock().unwrap(), *store.gone.lock().unwrap()), (1, 1));
    // one that is asked by itself too
    ask("c").await.unwrap().leave();
    assert_eq!((*store.left.lock().unwrap(), *store.gone.lock().unwrap()), (2, 2));
}

/// Two commands of one burst that wait.
async fn two(gathering: &Gathering) -> (Box<dyn Pending>, Box<dyn Pending>) {
    let ask = |text: &str| gathering.ask(question("s", "r", text, Some("x")));
    let (a, b) = tokio::join!(ask("a"), ask("b"));
    (a.unwrap(), b.unwrap())
}

fn yes() -> Outcome {
    Outcome::Approved { approvers: vec!["ann".to_owned()] }
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_is_being_consumed_is_for_everybody_of_a_burst_whose_wait_ends_meanwhile() {
    let (store, gathering) = store();
    let (mut a, mut b) = two(&gathering).await;
    store.decision.send_replace(Some(yes()));
    tokio::time::sleep(CLAIM / 2).await;
    let (of_a, of_b) = tokio::join!(a.stop(), b.stop());
    assert_eq!((of_a.unwrap().unwrap(), of_b.unwrap().unwrap()), (yes(), yes()));
    assert_eq!(*store.consumed.lock().unwrap(), 1);
    assert!(a.stop().await.is_none(), "it is told once");
    assert_eq!(a.outcome().await.unwrap(), Outcome::Withdrawn, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_is_consumed_when_a_wait_ends_is_taken_though_nobody_has_looked_at_it_yet() {
    let (store, gathering) = store();
    let (mut a, mut b) = two(&gathering).await;
    store.decision.send_replace(Some(yes()));
    tokio::time::sleep(CLAIM * 2).await;
    assert_eq!(*store.consumed.lock().unwrap(), 1);
    assert_eq!(a.stop().await.unwrap().unwrap(), yes());
    assert_eq!(b.outcome().await.unwrap(), yes());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_consumed_for_the_rest_of_a_burst_once_one_of_it_waits_no_longer() {
    let (store, gathering) = store();
    let (mut a, mut b) = two(&gathering).await;
    assert!(a.stop().await.is_none());
    a.leave();
    drop(a);
    store.decision.send_replace(Some(yes()));
    assert!(tokio::time::timeout(CLAIM * 5, b.outcome()).await.is_err(), "a would find it used up");
    assert!(b.stop().await.is_none());
    drop(b);
    tokio::time::sleep(CLAIM).await;
    assert_eq!((*store.consumed.lock().unwrap(), *store.left.lock().unwrap()), (0, 1));
}
