//! Whether a gateway may act as its agents in the cluster in which it runs. The API server is asked, by
//! `SubjectAccessReview`: what the operator granted may not hold yet, and where it grants nothing somebody else may have.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use crate::context::Context;
use crate::resource::validate::{Names, ValidatedResource};
use crate::stores::Chain;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use std::time::Duration;

/// What the API server says of the account under which a gateway acts as its agents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rights {
    /// The gateway acts in another cluster, or nobody may come.
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
    pub const fn again(&self) -> Option<Duration> {
        match self {
            Self::NotNeeded | Self::Held => None,
            Self::Missing(_) => Some(Duration::from_secs(5)),
            Self::Narrow(_) | Self::Unknown(_) => Some(Duration::from_mins(1)),
        }
    }
}

/// Asks for everything that the gateway needs.
///
/// Cancel safe.
pub async fn ask(context: &Context, resource: &ValidatedResource) -> Rights {
    let Some(wanted) = resource.impersonation.as_ref().filter(|wanted| wanted.is_needed()) else {
        return Rights::NotNeeded;
    };
    let (mut missing, mut narrow) = (Vec::new(), Vec::new());
    let questions = ALWAYS.iter().map(|always| (*always, None));
    for (question, name) in
        questions.chain(named("users", &wanted.users)).chain(named("groups", &wanted.groups))
    {
        match may(context, resource, &question, name.as_deref()).await {
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
