//! Whether a gateway may act as its agents. In the cluster in which it runs the API server is asked, by
//! `SubjectAccessReview`: what the operator granted may not hold yet, and where it grants nothing somebody else may have.
//! Another cluster is asked by the gateway itself, which has the credential, and says so in the Resource's status.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use super::RESYNC;
use crate::context::Context;
use crate::resource::validate::{Impersonation, Names, ValidatedResource};
use crate::stores::Chain;
use crds::v1alpha1::{GatewayReport, UpstreamAccount};
use futures_util::stream::{self, StreamExt as _};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the API server says of the account under which a gateway acts as its agents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rights {
    /// Nobody may come, or no gateway has asked yet.
    NotNeeded,
    /// It may act as everybody who may come.
    Held,
    /// As whom it has to act is not known beforehand, and it may not act as just anybody: as those only whom somebody
    /// named. These kinds of names.
    Narrow(Vec<String>),
    /// It may not: what it lacks.
    Missing(Vec<String>),
    /// The API server did not say, because of this.
    Unknown(String),
}

impl Rights {
    /// How soon to ask again: nothing tells of a change of rights.
    const fn again(&self) -> Duration {
        match self {
            Self::NotNeeded | Self::Held => RESYNC,
            Self::Missing(_) => Duration::from_secs(5),
            Self::Narrow(_) | Self::Unknown(_) => Duration::from_mins(1),
        }
    }

    /// What the gateways were told by another cluster. What one of them lacks, the Resource lacks.
    pub fn told(reports: &[&GatewayReport]) -> Self {
        let told: Vec<&UpstreamAccount> =
            reports.iter().filter_map(|report| report.upstream_account.as_ref()).collect();
        let first = |list: fn(&UpstreamAccount) -> &Vec<String>| {
            told.iter().map(|account| list(account)).find(|list| !list.is_empty()).cloned()
        };
        if let Some(missing) = first(|account| &account.missing) {
            return Self::Missing(missing);
        }
        let problem = |account: &&UpstreamAccount| account.problem.clone().filter(|why| !why.is_empty());
        if let Some(why) = told.iter().find_map(problem) {
            return Self::Unknown(why);
        }
        match first(|account| &account.narrow) {
            Some(narrow) => Self::Narrow(narrow),
            None if told.is_empty() => Self::NotNeeded,
            None => Self::Held,
        }
    }
}

/// What was answered, by namespace and name of the Resource: many changes lead to a reconcile, few of them to another
/// answer.
#[derive(Debug, Default)]
pub struct Answers(Mutex<HashMap<(String, String), Answer>>);

#[derive(Clone, Debug)]
struct Answer {
    wanted: Impersonation,
    rights: Rights,
    at: Instant,
}

impl Answers {
    /// The answer to the same question, if it is not to be asked again yet, and how long it is good.
    fn known(&self, resource: &ValidatedResource, wanted: &Impersonation) -> Option<(Rights, Duration)> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(&key(resource)).filter(|answer| answer.wanted == *wanted)?;
        let rest = answer.rights.again().checked_sub(answer.at.elapsed())?;
        Some((answer.rights.clone(), rest))
    }

    fn keep(&self, resource: &ValidatedResource, answer: Answer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key(resource), answer);
    }

    /// Forgets a Resource.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

fn key(resource: &ValidatedResource) -> (String, String) {
    (resource.namespace.clone(), resource.name.clone())
}

/// Whether a gateway may act as its agents in its own cluster, and when to ask again. The API server is asked only
/// where the last answer is too old, or was to another question.
///
/// Cancel safe.
pub async fn ask(context: &Context, resource: &ValidatedResource) -> (Rights, Duration) {
    let Some(wanted) = resource.impersonation.as_ref().filter(|wanted| wanted.is_needed()) else {
        return (Rights::NotNeeded, RESYNC);
    };
    if let Some(known) = context.answers.known(resource, wanted) {
        return known;
    }
    let rights = ask_all(context, resource, wanted).await;
    let again = rights.again();
    match &rights {
        Rights::Held | Rights::Narrow(_) => {
            let answer = Answer { wanted: wanted.clone(), rights: rights.clone(), at: Instant::now() };
            context.answers.keep(resource, answer);
        }
        // what is missing may come at any moment, and the next reconcile may be due to that
        Rights::NotNeeded | Rights::Missing(_) | Rights::Unknown(_) => {}
    }
    (rights, again)
}

/// Asks for everything that the gateway needs.
async fn ask_all(context: &Context, resource: &ValidatedResource, wanted: &Impersonation) -> Rights {
    let (mut missing, mut narrow) = (Vec::new(), Vec::new());
    let always = ALWAYS.map(|always| (always, None));
    let questions =
        always.into_iter().chain(named("users", &wanted.users)).chain(named("groups", &wanted.groups));
    let asked: Vec<_> = questions
        .map(|(question, name)| async move {
            let may = may(context, resource, &question, name.as_deref()).await;
            (question, name, may)
        })
        .collect();
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    while let Some((question, name, may)) = answers.next().await {
        match may {
            Ok(true) => {}
            Ok(false) if question.group.is_empty() && name.is_none() => {
                narrow.push(question.resource.to_owned());
            }
            Ok(false) => missing.push(question.describe(name.as_deref())),
            Err(error) => return Rights::Unknown(Chain(&error).to_string()),
        }
    }
    match (missing.is_empty(), narrow.is_empty()) {
        (false, _) => Rights::Missing(missing),
        (true, false) => Rights::Narrow(narrow),
        (true, true) => Rights::Held,
    }
}

/// A kind of name that is impersonated.
#[derive(Clone, Copy, Debug)]
struct Question {
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
}

/// Every request of an agent carries these.
const ALWAYS: [Question; 3] = [
    Question { group: "authentication.k8s.io", resource: "uids", subresource: None },
    Question {
        group: "authentication.k8s.io",
        resource: "userextras",
        subresource: Some("portcullis.dev/session"),
    },
    Question {
        group: "authentication.k8s.io",
        resource: "userextras",
        subresource: Some("portcullis.dev/command"),
    },
];
/// Questions that are asked at once.
const AT_ONCE: usize = 8;
/// Most names of a kind that are asked for: each is a request.
const MOST: usize = 64;

/// One question for each name, or one about all.
fn named(resource: &'static str, names: &Names) -> Vec<(Question, Option<String>)> {
    let question = Question { group: "", resource, subresource: None };
    match names {
        Names::Any => vec![(question, None)],
        Names::These(names) => names.iter().take(MOST).map(|name| (question, Some(name.clone()))).collect(),
    }
}

impl Question {
    fn describe(self, name: Option<&str>) -> String {
        [Some(self.resource), self.subresource, name].into_iter().flatten().collect::<Vec<_>>().join("/")
    }
}

async fn may(
    context: &Context,
    resource: &ValidatedResource,
    question: &Question,
    name: Option<&str>,
) -> Result<bool, kube::Error> {
    let namespace = &resource.namespace;
    let attributes = ResourceAttributes {
        group: Some(question.group.to_owned()),
        resource: Some(question.resource.to_owned()),
        subresource: question.subresource.map(ToOwned::to_owned),
        verb: Some("impersonate".to_owned()),
        name: name.map(ToOwned::to_owned),
        ..ResourceAttributes::default()
    };
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{}", resource.gateway())),
            groups: Some(groups.to_vec()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api = Api::<SubjectAccessReview>::all(context.client.clone());
    let answered = api.create(&PostParams::default(), &review).await?;
    Ok(answered.status.is_some_and(|status| status.allowed))
}
