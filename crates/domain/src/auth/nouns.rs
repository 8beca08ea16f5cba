//! Roles and actors as nouns: made, replaced and refused like every other.

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{
    Actor, ActorDraft, ActorKind, ActorKindDraft, Grant, GrantDraft, Permission, Role, RoleDraft, RoleHeld, RoleHeldDraft, ScopeType,
    check_role,
};
use crate::ids::{ActorId, Id as _, RoleId};
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;

impl Noun for Role {
    type Id = RoleId;
    type Draft = RoleDraft;
    const KIND: &'static str = "role";
    const PLURAL: &'static str = "roles";

    fn id(&self) -> &RoleId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &RoleDraft) -> Option<&RoleId> {
        draft.id.as_ref()
    }
    fn create(id: RoleId, draft: RoleDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut permissions = check_role(&draft)?;
        permissions.sort_by(|a, b| (a.permission, &a.scope_id).cmp(&(b.permission, &b.scope_id)));
        permissions.dedup();
        Ok(Self {
            id,
            tenant_id: TENANT.to_owned(),
            name: draft.name,
            description: draft.description,
            system: false,
            permissions,
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: RoleDraft, now: Timestamp) -> Result<Self, Refusal> {
        let keeps_permissions = draft.permissions.is_none();
        let new = Self::create(self.id.clone(), draft, now)?;
        let permissions = if keeps_permissions { self.permissions.clone() } else { new.permissions };
        Ok(Self { permissions, system: self.system, revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> RoleDraft {
        RoleDraft {
            id: Some(self.id.clone()),
            name: self.name.clone(),
            description: self.description.clone(),
            permissions: Some(self.permissions.iter().cloned().map(GrantDraft::Scoped).collect()),
        }
    }
}

impl Noun for Actor {
    type Id = ActorId;
    type Draft = ActorDraft;
    const KIND: &'static str = "actor";
    const PLURAL: &'static str = "actors";

    fn id(&self) -> &ActorId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &ActorDraft) -> Option<&ActorId> {
        draft.id.as_ref()
    }
    fn create(id: ActorId, draft: ActorDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).that(draft.roles.len() <= 100, "roles", "must have at most 100 entries");
        let mut roles: Vec<RoleHeld> = Vec::with_capacity(draft.roles.len());
        for (i, held) in draft.roles.into_iter().map(RoleHeld::from).enumerate() {
            check.ok(&format!("roles.{i}"), held.scope());
            let again = roles.iter().any(|other| other.is_same_grant(&held));
            check.that(!again, &format!("roles.{i}"), format_args!("names {} twice in one scope", held.role_id));
            roles.push(held);
        }
        let kind = match draft.kind {
            ActorKindDraft::APIKey | ActorKindDraft::Service => ActorKind::APIKey,
            ActorKindDraft::User => ActorKind::User,
        };
        check.finish(|| Self { id, kind, name: draft.name, roles, disabled_at: None, revision: 1, created_at: now, updated_at: now })
    }
    fn replace(&self, draft: ActorDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { disabled_at: self.disabled_at, revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> ActorDraft {
        let kind = match self.kind {
            ActorKind::User => ActorKindDraft::User,
            ActorKind::APIKey | ActorKind::Agent | ActorKind::System | ActorKind::Anonymous => ActorKindDraft::APIKey,
        };
        let roles = self.roles.iter().cloned().map(RoleHeldDraft::Held).collect();
        ActorDraft { id: Some(self.id.clone()), name: self.name.clone(), kind, roles }
    }
}

impl RoleHeld {
    /// Where it is held.
    ///
    /// # Errors
    /// When the two fields do not fit.
    pub fn scope(&self) -> Result<super::Scope, Refusal> {
        super::Scope::from_parts(self.scope_type, self.scope_id.as_deref())
    }

    /// Whether it is the same role in the same scope, whenever each ends.
    #[must_use]
    pub fn is_same_grant(&self, other: &Self) -> bool {
        self.role_id == other.role_id && self.scope_type == other.scope_type && self.scope_id == other.scope_id
    }
}

// Written by hand: serde's untagged enums answer "did not match any variant" where the reason is known.
impl<'de> Deserialize<'de> for GrantDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;
        impl<'de> Visitor<'de> for TextOrObject {
            type Value = GrantDraft;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a permission such as \"cert.read\", or an object with permission, scope_type and scope_id")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GrantDraft, E> {
                Permission::deserialize(de::value::StrDeserializer::new(text)).map(GrantDraft::Name)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GrantDraft, A::Error> {
                GrantRead::deserialize(MapAccessDeserializer::new(map)).map(|read| {
                    let GrantRead { permission, scope_type, scope_id, .. } = read;
                    GrantDraft::Scoped(Grant { permission, scope_type, scope_id })
                })
            }
        }
        deserializer.deserialize_any(TextOrObject)
    }
}

impl<'de> Deserialize<'de> for RoleHeldDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;
        impl<'de> Visitor<'de> for TextOrObject {
            type Value = RoleHeldDraft;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a role's id such as \"r-viewer\", or an object with role_id, scope_type, scope_id and expires_at")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RoleHeldDraft, E> {
                RoleId::parse(text).map(RoleHeldDraft::Id).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RoleHeldDraft, A::Error> {
                RoleHeld::deserialize(MapAccessDeserializer::new(map)).map(RoleHeldDraft::Held)
            }
        }
        deserializer.deserialize_any(TextOrObject)
    }
}

/// A grant as it may be sent: with what a role shows beside it, which says nothing new.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRead {
    permission: Permission,
    #[serde(default)]
    scope_type: ScopeType,
    scope_id: Option<String>,
    #[serde(rename = "role_id")]
    _role_id: Option<IgnoredAny>,
    #[serde(rename = "permission_id")]
    _permission_id: Option<IgnoredAny>,
}

const TENANT: &str = "t-default";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn a_replacement_without_permissions_keeps_them() {
        let draft = |json: serde_json::Value| serde_json::from_value::<RoleDraft>(json).unwrap();
        let id = RoleId::parse("r-x").unwrap();
        let made =
            Role::create(id, draft(serde_json::json!({"name": "x", "permissions": ["job.read", "cert.read", "job.read"]})), at(1)).unwrap();
        assert_eq!(made.permissions, [Grant::global(Permission::CertRead), Grant::global(Permission::JobRead)]);
        let renamed = made.replace(draft(serde_json::json!({"name": "y"})), at(2)).unwrap();
        assert_eq!((renamed.name.as_str(), &renamed.permissions, renamed.revision), ("y", &made.permissions, 2));
        let emptied = made.replace(draft(serde_json::json!({"name": "y", "permissions": []})), at(2)).unwrap();
        assert!(emptied.permissions.is_empty());
    }

    #[test]
    fn an_actor_holds_a_role_once_in_each_scope() {
        let draft = |roles: serde_json::Value| {
            serde_json::from_value::<ActorDraft>(serde_json::json!({"name": "x", "type": "Service", "roles": roles})).unwrap()
        };
        let make = |roles| Actor::create(ActorId::parse("actor-x").unwrap(), draft(roles), at(1));
        let narrow = serde_json::json!({"role_id": "r-viewer", "scope_type": "profile", "scope_id": "prof-1"});
        let actor = make(serde_json::json!(["r-viewer", narrow])).unwrap();
        assert_eq!((actor.kind, actor.roles.len()), (ActorKind::APIKey, 2));
        assert_eq!(make(serde_json::json!(["r-viewer", "r-viewer"])).unwrap_err().fields[0].field, "roles.1");
        let unscoped = serde_json::json!([{"role_id": "r-viewer", "scope_type": "profile"}]);
        assert_eq!(make(unscoped).unwrap_err().fields[0].field, "roles.0");
    }

    #[test]
    fn a_wrong_permission_or_role_is_told_by_name() {
        let error = serde_json::from_str::<RoleDraft>(r#"{"name":"x","permissions":["metrics.write"]}"#).unwrap_err();
        assert!(error.to_string().contains("`metrics.write` is not a permission"), "{error}");
        let error = serde_json::from_str::<RoleDraft>(r#"{"name":"x","permissions":[{"permission":"job.read","scope":"x"}]}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `scope`"), "{error}");
        let error = serde_json::from_str::<ActorDraft>(r#"{"name":"x","roles":["../x"]}"#).unwrap_err();
        assert!(error.to_string().contains("is not an identifier"), "{error}");
        let error = serde_json::from_str::<ActorDraft>(r#"{"name":"x","roles":[7]}"#).unwrap_err();
        assert!(error.to_string().contains("a role's id"), "{error}");
    }
}
