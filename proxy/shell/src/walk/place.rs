//! Where a command runs, and what a path means there.

use super::super::argument::{Arg, Sort};
use crate::paths::clean;

/// So many directories are told apart.
const PLACES_MAX: usize = 4;

/// The directories that a command may run in. None: anywhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Place(Option<Vec<String>>);

impl Default for Place {
    /// A login starts at home.
    fn default() -> Self {
        Self(Some(vec!["~".to_owned()]))
    }
}

impl Place {
    /// It may as well be `other`.
    pub(super) fn or(&mut self, other: &Self) {
        let merged = match (&self.0, &other.0) {
            (Some(here), Some(there)) => {
                let mut all = here.clone();
                all.extend(there.iter().filter(|dir| !here.contains(dir)).cloned());
                (all.len() <= PLACES_MAX).then_some(all)
            }
            _ => None,
        };
        self.0 = merged;
    }

    /// It may be anywhere.
    pub(super) fn lose(&mut self) {
        self.0 = None;
    }

    /// Nobody knows where it runs.
    pub(super) fn is_lost(&self) -> bool {
        self.0.is_none()
    }

    /// `cd dir`.
    pub(in super::super) fn enter(&mut self, dir: &Arg) {
        self.0 = match dir.sort {
            // from nobody knows where, a relative one leads nobody knows where
            Sort::Exact if dir.text != "-" && (dir.text.starts_with(['/', '~']) || !self.is_lost()) => {
                Some(self.paths(&dir.text))
            }
            Sort::Exact | Sort::Names | Sort::Tree | Sort::AnyNames | Sort::Shaped | Sort::Open => None,
        };
    }

    /// The paths that `path` may mean: absolute, below home (`~/x`), or, where the directory is not known, relative.
    pub(in super::super) fn paths(&self, path: &str) -> Vec<String> {
        if path.starts_with(['/', '~']) {
            return vec![clean(path)];
        }
        match &self.0 {
            Some(dirs) => dirs.iter().map(|dir| clean(&format!("{dir}/{path}"))).collect(),
            None => vec![format!("?/{}", clean(path))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_where_a_command_runs() {
        let mut place = Place::default();
        assert_eq!(place.paths("a/./b//c"), ["~/a/b/c"]);
        assert_eq!(place.paths("/srv/../etc/passwd"), ["/etc/passwd"]);
        assert_eq!(place.paths("/../.."), ["/"]);
        assert_eq!(place.paths("~/x/.."), ["~"]);
        let home = place.clone();
        place.enter(&Arg::exact("/srv/app"));
        assert_eq!(place.paths("../x"), ["/srv/x"]);
        place.or(&home);
        assert_eq!(place.paths("x"), ["/srv/app/x", "~/x"]);
        place.enter(&Arg::open("$d"));
        assert_eq!(place.paths("x"), ["?/x"]);
    }
}
