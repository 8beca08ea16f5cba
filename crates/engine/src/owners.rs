//! Owners: nothing beside what every noun does.

use certctl_domain::owner::Owner;

use crate::crud::{Actions, Managed};

impl Managed for Owner {
    const ACTIONS: Actions = crate::actions!("owner");
}
