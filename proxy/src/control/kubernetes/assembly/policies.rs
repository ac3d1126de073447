//! Which generation of each Policy is enforced.
//!
//! The newest, if it compiles. Otherwise the last one that did, as long as it is the same object. A Policy that is new
//! and never compiled was never enforced here: the others go on without it, and the report says so. At the start that
//! cannot be known, and a Policy made anew under a known name may have been meant to replace it: then nothing changes.

use crate::config::{Place, Problem};
use crate::control::kubernetes::described::Described;
use crds::v1alpha1::{Policy, RunningPolicy};
use proxy_policy::{PolicySet, ResourceFacts, compile, selects};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What compiled, by name.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// The facts that `judged` was judged by.
    facts: String,
    /// By UID: compiling is most of the work, and most policies of a namespace do not change, or are about others.
    judged: HashMap<String, (i64, Judgement)>,
    good: BTreeMap<String, Good>,
    in_force: bool,
}

#[derive(Debug)]
struct Good {
    uid: String,
    policy: Arc<Policy>,
}

/// What one generation of a Policy is worth for the Resource.
#[derive(Clone, Debug)]
enum Judgement {
    NotOurs,
    Good,
    Bad(Vec<Problem>),
}

/// The policies to enforce.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) set: PolicySet,
    pub(super) running: Vec<RunningPolicy>,
    /// Why some are of an earlier generation.
    pub(super) held_back: Vec<Problem>,
}

impl Policies {
    /// What was chosen last is enforced.
    pub(super) const fn are_in_force(&mut self) {
        self.in_force = true;
    }

    /// Chooses among what is there.
    ///
    /// # Errors
    /// A Policy that binds the Resource has no generation that can be enforced.
    pub(super) fn choose(
        &mut self,
        facts: &ResourceFacts,
        policies: &[Arc<Described<Policy>>],
    ) -> Result<Chosen, Vec<Problem>> {
        self.forget(facts, policies);
        let (mut held_back, mut blocking) = (Vec::new(), Vec::new());
        let mut chosen: Vec<Arc<Policy>> = Vec::new();
        for described in policies {
            match (self.judge(facts, described), &described.object) {
                (Judgement::Good, Ok(policy)) => {
                    let (uid, policy) = (described.uid.clone(), Arc::clone(policy));
                    chosen.push(Arc::clone(&policy));
                    self.good.insert(described.name.clone(), Good { uid, policy });
                }
                (Judgement::Bad(problems), _) => match self.good.get(&described.name) {
                    Some(last)
                        if last.uid == described.uid
                            && compile(facts, std::slice::from_ref(&*last.policy)).is_ok() =>
                    {
                        chosen.push(Arc::clone(&last.policy));
                        held_back.extend(problems);
                    }
                    None if self.in_force => held_back.extend(problems),
                    Some(_) | None => blocking.extend(problems),
                },
                (Judgement::NotOurs | Judgement::Good, _) => drop(self.good.remove(&described.name)),
            }
        }
        if !blocking.is_empty() {
            return Err(blocking);
        }
        let specs: Vec<Policy> = chosen.iter().map(|policy| (**policy).clone()).collect();
        let set = compile(facts, &specs).map_err(|problems| {
            let located = problems.iter().map(|problem| {
                let place = Place::object("Policy", &facts.namespace, &problem.policy);
                place.problem(&problem.path, &problem.message)
            });
            located.collect::<Vec<_>>()
        })?;
        let running = chosen.iter().map(|policy| running(policy)).collect();
        Ok(Chosen { set, running, held_back })
    }

    /// Drops what is gone, and every judgement that was about another Resource than this one is now.
    fn forget(&mut self, facts: &ResourceFacts, policies: &[Arc<Described<Policy>>]) {
        let now = format!("{facts:?}");
        if self.facts != now {
            self.facts = now;
            self.judged.clear();
        }
        let uids: HashSet<&str> = policies.iter().map(|policy| policy.uid.as_str()).collect();
        let names: HashSet<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        self.judged.retain(|uid, _| uids.contains(uid.as_str()));
        self.good.retain(|name, _| names.contains(name.as_str()));
    }

    fn judge(&mut self, facts: &ResourceFacts, described: &Described<Policy>) -> Judgement {
        if let Some((generation, judgement)) = self.judged.get(&described.uid)
            && *generation == described.generation
        {
            return judgement.clone();
        }
        let judgement = judge(facts, described);
        self.judged.insert(described.uid.clone(), (described.generation, judgement.clone()));
        judgement
    }
}

fn judge(facts: &ResourceFacts, described: &Described<Policy>) -> Judgement {
    let place = Place::object("Policy", &facts.namespace, &described.name);
    match &described.object {
        Ok(policy) if !selects(facts, policy) => Judgement::NotOurs,
        Ok(policy) => match compile(facts, std::slice::from_ref(&**policy)) {
            Ok(_) => Judgement::Good,
            Err(problems) => {
                let located = problems.iter().map(|problem| place.problem(&problem.path, &problem.message));
                Judgement::Bad(located.collect())
            }
        },
        Err(_) if described.targets.as_ref().is_some_and(|targets| !targets.contains(&facts.name)) => {
            Judgement::NotOurs
        }
        Err(problems) => {
            let located = problems.iter().map(|problem| place.problem(&problem.path, &problem.message));
            Judgement::Bad(located.collect())
        }
    }
}

fn running(policy: &Policy) -> RunningPolicy {
    let metadata = &policy.metadata;
    RunningPolicy {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
    }
}
