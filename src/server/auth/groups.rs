//! The grants of groups: what the members of a group may do, and what all authenticated users may do.

use crate::server::auth::Grants;

/// The grants of each group. A group may have several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupGrants(Vec<(Option<String>, Grants)>);

impl GroupGrants {
    /// Adds grants of `group`, or of all authenticated users if it is `None`.
    pub fn add(&mut self, group: Option<String>, grants: Grants) {
        self.0.push((group, grants));
    }

    /// Returns true if there are no grants.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all grants of a user in `groups`.
    pub(super) fn of(&self, groups: &[&str]) -> Grants {
        let mut all = Grants::default();
        for (group, grants) in &self.0 {
            let applies = group.as_deref().is_none_or(|group| groups.contains(&group));
            if applies {
                all.extend(grants);
            }
        }
        all
    }
}
