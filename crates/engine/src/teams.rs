//! Teams: nothing beside what every noun does.

use certctl_domain::team::Team;

use crate::crud::{Actions, Managed};

impl Managed for Team {
    const ACTIONS: Actions = crate::actions!("team");
}
