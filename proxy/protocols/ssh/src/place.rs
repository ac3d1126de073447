//! Where a command runs.

/// On whose behalf, and on which host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The login that the client asked for, which policies know as its role.
    pub role: String,
    /// Name of the host within its Resource.
    pub host: String,
}
