//! Profiles: a grant in the scope of a profile reaches the profile itself.

use certctl_domain::ids::Id as _;
use certctl_domain::profile::Profile;

use crate::crud::{Actions, Managed};
use crate::ctx::Ctx;

impl Managed for Profile {
    const ACTIONS: Actions = crate::actions!("profile");

    fn is_within(&self, ctx: &Ctx) -> bool {
        ctx.reach().includes(Some(self.id.as_str()), None)
    }
}
