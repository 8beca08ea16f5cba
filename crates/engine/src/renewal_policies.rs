//! Renewal policies: nothing beside what every noun does.

use certctl_domain::renewal::RenewalPolicy;

use crate::crud::{Actions, Managed};

impl Managed for RenewalPolicy {
    const ACTIONS: Actions = crate::actions!("renewal_policy");
}
