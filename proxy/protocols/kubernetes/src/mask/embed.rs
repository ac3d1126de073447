//! Resources whose objects may hold other objects: a Secret may be among them.

use crate::request::RequestInfo;

/// Whether objects of a resource may hold whole objects of any kind: custom resources, what aggregated API servers
/// serve, and the built-in types that keep others as they were or as a driver wants them.
pub(crate) fn may_hold_objects(info: &RequestInfo) -> bool {
    !info.is_built_in()
        || info.group == "resource.k8s.io"
        || (info.group == "apps" && info.resource == "controllerrevisions")
}
