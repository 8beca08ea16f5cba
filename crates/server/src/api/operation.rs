//! What an operation says of itself, gathered from the types of its handler.

use std::collections::BTreeSet;

use certctl_domain::auth::Permission;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::access::Access;
use super::reply::Reply;
use super::schema::Schemas;
use crate::problem::Answer;

/// What is known about an operation.
#[derive(Debug, Default)]
pub struct Operation {
    pub(super) credential: bool,
    pub(super) own_agent: bool,
    pub(super) permission: Option<Permission>,
    pub(super) by_name: bool,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    pub(super) answers: Vec<(u16, Value)>,
    pub(super) problems: BTreeSet<u16>,
    pub(super) schemas: Schemas,
}

/// An argument of a handler beside the first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where it comes from",
    note = "arguments after the first are Path, Named, Query, ListParams, IfMatch, Peer, and last Body, Draft or MergePatch"
)]
pub trait Part {
    /// Writes down where it comes from.
    fn describe(operation: &mut Operation);
}

/// A handler whose arguments and answer describe themselves.
#[diagnostic::on_unimplemented(
    message = "this handler does not describe itself",
    note = "its first argument says who may call (Authorized<perm::X>, AuthorizedAgent, Authenticated or Public), the others are parts of \
            the request, and it gives Answer<reply>"
)]
pub trait Described<Arguments> {
    /// Writes down what it takes and gives.
    fn describe(operation: &mut Operation);
}

impl Operation {
    /// A parameter in the query.
    pub fn query(&mut self, name: &str, description: &str, schema: Value) {
        self.parameter(json!({"in": "query", "name": name, "required": false, "description": description, "schema": schema}));
    }

    /// A request header.
    pub fn header(&mut self, name: &str, description: &str, schema: Value) {
        self.parameter(json!({"in": "header", "name": name, "required": false, "description": description, "schema": schema}));
    }

    /// Any parameter, as OpenAPI writes it.
    pub fn parameter(&mut self, parameter: Value) {
        self.parameters.push(parameter);
    }

    /// A body in one of these media types.
    pub fn takes(&mut self, media: &[&str], required: Required, schema: &Value) {
        let content: serde_json::Map<String, Value> = media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
        self.body = Some(json!({"required": required == Required::Yes, "content": content}));
        self.problems.extend([400, 413, 415]);
    }

    /// An answer.
    pub fn gives(&mut self, status: u16, answer: Value) {
        self.answers.push((status, answer));
    }

    /// A problem that may come instead.
    pub fn problem(&mut self, status: u16) {
        self.problems.insert(status);
    }

    /// A reference to the schema of a type.
    pub fn schema<T: ToSchema>(&mut self) -> Value {
        self.schemas.reference::<T>()
    }
}

/// Whether a body must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// It must.
    Yes,
    /// It may.
    No,
}

impl<T: Part> Part for Option<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

macro_rules! handlers {
    ($(($($argument:ident),*))*) => { $(
        impl<F, Fut, A, $($argument,)* R> Described<(A, $($argument,)*)> for F
        where
            F: Fn(A, $($argument),*) -> Fut,
            Fut: Future<Output = Answer<R>>,
            A: Access,
            $($argument: Part,)*
            R: Reply,
        {
            fn describe(operation: &mut Operation) {
                A::describe(operation);
                $($argument::describe(operation);)*
                R::describe(operation);
            }
        }
    )* };
}
handlers! { () (B) (B, C) (B, C, D) (B, C, D, E) (B, C, D, E, G) }
