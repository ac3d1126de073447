//! Operator, gateways and API server are killed at random moments around approvals: nothing runs twice, nothing runs
//! that was not approved, and whatever ran is in a log that verifies.
//!
//! Agents insert a mark of their own each, which a rule holds; an approver lets some through, denies others and leaves
//! the rest. Everybody but PostgreSQL and the agents may die at any moment. PostgreSQL counts what ran.

mod agents;
mod approver;
mod field;

use super::scene::Scene;
use e2e::operator::Operator;
use e2e::random::{Random, kills};
use field::{Fate, Field};
use proxy_audit::event::key;
use proxy_audit::read;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

const AGENTS: u64 = 3;
const PODS: [&str; 2] = ["gateway-1", "gateway-2"];
/// One operator at a time, so that the next need not wait for the lease of the one that was killed; requests stay for
/// longer than it takes to look at them.
const OPERATOR: [&str; 2] = ["--leader-elect=false", "--retention=300"];

const HOLD_MARKS: &str = "  - name: marks
    action: Hold
    postgresql: {effects: [Insert], relations: [public.marks]}
    roles: [app]
    approval: {timeoutSeconds: 120, onDisconnect: Claimable}
  - name: no-drops";

#[test]
fn under_random_kills_nothing_runs_twice_nor_without_its_approval() {
    let mut random = Random::printed();
    let Some((scene, operator)) = Scene::start_with_operator(&OPERATOR, &PODS) else { return };
    scene.upstream("create table marks (name text); grant insert on marks to app");
    scene.change_policy("  - name: no-drops", HOLD_MARKS);
    let field = Field::open(&scene, PODS);
    let killed = std::thread::scope(|threads| {
        // whatever fails here, the others come to an end
        let ending = field.ending();
        for agent in 0..AGENTS {
            let mut random = Random::seeded(random.below(u64::MAX));
            let field = &field;
            threads.spawn(move || agents::work(field, &mut random, agent));
        }
        threads.spawn(|| approver::decide(&field));
        let killed = kill(&field, operator, &mut random);
        drop(ending);
        killed
    });
    let summary = judge(&field);
    field.stop_gateways();
    verify(&field, &summary.ran);
    println!("{killed:?} killed; {summary}");
    assert!(summary.ran.len() * 4 > kills(20), "hardly anything ran: {summary}");
    assert!(summary.denied > 0, "nothing was denied: {summary}");
}

/// Who may be killed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Victim {
    ApiServer,
    Operator,
    Gateway(usize),
}

/// Kills one of them, at times two, again and again, each time soon after a decision; says how often each.
fn kill(field: &Field<'_>, mut operator: Operator, random: &mut Random) -> BTreeMap<Victim, usize> {
    let mut killed = BTreeMap::new();
    while killed.values().sum::<usize>() < kills(20) {
        field.wait_for_a_decision();
        std::thread::sleep(Duration::from_millis(random.below(300)));
        let count = if random.below(6) == 0 { 2 } else { 1 };
        let victims: BTreeSet<Victim> = (0..count).map(|_| choose(random)).collect();
        for victim in &victims {
            *killed.entry(*victim).or_default() += 1;
            match victim {
                Victim::ApiServer => field.scene.server.stop(),
                Victim::Operator => {
                    operator.process().signal("KILL").unwrap();
                    operator.process().wait().unwrap();
                }
                Victim::Gateway(number) => field.kill_gateway(*number),
            }
            std::thread::sleep(Duration::from_millis(random.below(100)));
        }
        std::thread::sleep(Duration::from_millis(random.below(300)));
        // in the order of their names: the API server is there for the others
        for victim in victims {
            match victim {
                Victim::ApiServer => field.scene.server.start_again().unwrap(),
                Victim::Operator => {
                    operator = Operator::start(field.scene.server.kubeconfig(), &OPERATOR).unwrap();
                }
                Victim::Gateway(number) => field.start_gateway(number),
            }
        }
    }
    // it is needed for what is still held
    field.keep(operator);
    killed
}

fn choose(random: &mut Random) -> Victim {
    match random.below(8) {
        0 => Victim::ApiServer,
        1 | 2 => Victim::Operator,
        3..=5 => Victim::Gateway(0),
        _ => Victim::Gateway(1),
    }
}

/// What came of all commands.
struct Summary {
    /// Marks that are there, each with the request that let it through.
    ran: BTreeMap<String, String>,
    denied: usize,
    /// Approvals that were consumed by a gateway that was killed before the command went upstream.
    lost: usize,
    commands: usize,
    requests: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ran, denied, lost, commands, requests } = self;
        write!(
            f,
            "{commands} commands asked by {requests} requests: {} ran once, 0 twice, 0 unapproved; {denied} denied, \
             {lost} approvals consumed without effect",
            ran.len()
        )
    }
}

/// Compares what PostgreSQL has with what the approver did and what the requests say.
fn judge(field: &Field<'_>) -> Summary {
    let (fates, requests) = (field.fates(), field.requests());
    let mut ran = BTreeMap::new();
    let counted = field.scene.upstream("select name, count(*) from marks group by 1");
    for line in counted.lines() {
        let (name, count) = line.split_once('|').unwrap();
        let asked: Vec<_> = requests.iter().filter(|(_, request)| request.subject == name).collect();
        assert_eq!(count, "1", "{name} ran {count} times: {asked:?}");
        assert_eq!(fates.get(name), Some(&Fate::Approve), "{name} ran: {asked:?}");
        let is_consumed = |(_, request): &&(&String, &field::Request)| {
            request.is(&["Approved", "ApproverBinding", "Consumed"])
        };
        let consumed: Vec<String> =
            asked.iter().filter(is_consumed).map(|(name, _)| (*name).clone()).collect();
        assert_eq!(consumed.len(), 1, "{name} ran: {asked:?}");
        ran.extend(consumed.into_iter().map(|request| (name.to_owned(), request)));
    }
    let consumed = requests.values().filter(|request| request.is(&["Consumed"])).count();
    let denied = requests.values().filter(|request| request.is(&["Denied"])).count();
    let lost = consumed - ran.len();
    Summary { ran, denied, lost, commands: fates.len(), requests: requests.len() }
}

/// The gateways' logs verify, and whatever ran is in them with its approval.
fn verify(field: &Field<'_>, ran: &BTreeMap<String, String>) {
    let mut recorded: BTreeSet<(String, String)> = BTreeSet::new();
    for pod in PODS {
        let state = field.scene.state(pod);
        let portcullis = e2e::tools::own("portcullis").unwrap();
        let verified = Command::new(portcullis).args(["verify", "--spool"]).arg(&state).output().unwrap();
        assert!(verified.status.success(), "{pod}: {}", String::from_utf8_lossy(&verified.stdout));
        let mut users: BTreeMap<String, String> = BTreeMap::new();
        for log in read::logs(&state).unwrap() {
            for record in read::records(&log).unwrap().map(Result::unwrap) {
                let text = |key: &str| record.text(key).unwrap_or_default().to_owned();
                if record.name() == "portcullis.session.start" {
                    users.insert(text(key::SESSION_ID), text(key::USER_ID));
                }
                if matches!(record.text(key::APPROVAL_VERDICT), Some("approved" | "claimed")) {
                    recorded.insert((users[&text(key::SESSION_ID)].clone(), text(key::APPROVAL_NAME)));
                }
            }
        }
    }
    for (name, request) in ran {
        let is_recorded = recorded.iter().any(|(user, approval)| user.ends_with(name) && approval == request);
        assert!(is_recorded, "{name} ran by {request}, which is in no log");
    }
}
