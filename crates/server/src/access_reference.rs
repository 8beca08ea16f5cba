//! The reference of permissions and roles, for people: Markdown made of the catalogue, the roles as shipped and the list of operations.

use std::collections::BTreeMap;

use certctl_domain::auth::{Permission, system_roles};

use crate::routes;

/// All permissions, who has them, and what they open, as Markdown.
#[must_use]
pub fn reference() -> String {
    let roles = system_roles();
    let mut text = INTRODUCTION.to_owned();
    for (id, name, description, permissions) in &roles {
        text.push_str(&format!("| `{id}` | {name} | {description} | {} |\n", permissions.len()));
    }
    text.push_str("\n## Permissions and who has them\n\n| permission | in scopes |");
    for (_, name, ..) in &roles {
        text.push_str(&format!(" {name} |"));
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(roles.len()));
    text.push('\n');
    for permission in Permission::ALL {
        text.push_str(&format!("| `{permission}` | {} |", if permission.has_scopes() { "yes" } else { "" }));
        for (.., held) in &roles {
            text.push_str(if held.contains(permission) { " x |" } else { "  |" });
        }
        text.push('\n');
    }
    let mut operations = operations();
    text.push_str("\n## What each permission opens\n\n| permission | operations |\n|---|---|\n");
    for permission in Permission::ALL {
        let opens = operations.remove(permission.as_str()).unwrap_or_default();
        let opens = if opens.is_empty() { "nothing in this release".to_owned() } else { opens.join("<br>") };
        text.push_str(&format!("| `{permission}` | {opens} |\n"));
    }
    text.push_str("\n## Operations that ask for no permission\n\n| who may call | operations |\n|---|---|\n");
    for (who, words) in [(KNOWN, "everybody with a credential"), (ANYBODY, "everybody")] {
        text.push_str(&format!("| {words} | {} |\n", operations.remove(who).unwrap_or_default().join("<br>")));
    }
    text
}

/// Operations by the permission that they ask for.
fn operations() -> BTreeMap<String, Vec<String>> {
    let document = routes::openapi();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, methods) in document.get("paths").and_then(serde_json::Value::as_object).into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |key: &str| operation.get(key).and_then(serde_json::Value::as_str);
            let credential = operation.get("security").and_then(serde_json::Value::as_array).is_some_and(|all| !all.is_empty());
            let key = text("x-permission").unwrap_or(if credential { KNOWN } else { ANYBODY });
            let own = if operation.get("x-own-agent").is_some() { ", as that agent itself" } else { "" };
            found.entry(key.to_owned()).or_default().push(format!("`{} {path}`{own}", method.to_uppercase()));
        }
    }
    found
}

const KNOWN: &str = "(known)";
const ANYBODY: &str = "(anybody)";

const INTRODUCTION: &str =
    "<!-- Generated from the catalogue of permissions and the list of operations; run `cargo xtask codegen` after a change. -->

# Permissions and roles

Every operation of the REST API asks for one permission or is named at the end of this page. What they are for and how to give them:
[who may do what](../operator/rbac.md).

## Roles as shipped

They cannot be changed or deleted; make roles of your own beside them.

| id | name | for | permissions |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_and_every_operation_is_named_once() {
        let text = reference();
        for permission in Permission::ALL {
            assert_eq!(text.matches(&format!("\n| `{permission}` |")).count(), 2, "{permission}");
        }
        let document = routes::openapi();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                assert_eq!(text.matches(&format!("`{} {path}`", method.to_uppercase())).count(), 1, "{method} {path}");
            }
        }
    }
}
