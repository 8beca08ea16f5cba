//! The six operations of a noun, for every noun.

use axum::extract::FromRequestParts;
use certctl_domain::auth::perm::Asked;
use certctl_domain::noun::Noun;
use certctl_engine::crud::{self, Managed};

use super::access::Authorized;
use super::body::{Draft, MergePatch};
use super::list::ListParams;
use super::operation::Part;
use super::parts::{IfMatch, Named, Unnamed};
use super::reply::{Created, Listing, NoContent, One};
use super::router::Api;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

impl Api {
    /// List, create, read, replace, patch and delete, by id or unique name. `path` is where the list is.
    pub fn crud<N: Managed, Read: Asked, Edit: Asked, Delete: Asked>(&mut self, path: &'static str) -> &mut Self {
        self.crud_by::<N, Named<N>, Read, Edit, Delete>(path)
    }

    /// As [`Api::crud`], by id alone, for nouns whose names are not unique.
    pub fn crud_by_id<N: Managed, Read: Asked, Edit: Asked, Delete: Asked>(&mut self, path: &'static str) -> &mut Self {
        self.crud_by::<N, Unnamed<N>, Read, Edit, Delete>(path)
    }

    fn crud_by<N: Managed, I: Which<N>, Read: Asked, Edit: Asked, Delete: Asked>(&mut self, path: &'static str) -> &mut Self {
        let one = format!("{path}/{{id}}");
        let (a, many) = (with_article(N::KIND), N::PLURAL.replace('_', " "));
        self.get(path, format!("List {many}"), list::<N, Read>);
        self.post(path, format!("Create {a}"), move |ctx, draft| create::<N, Edit>(path, ctx, draft));
        self.get(one.clone(), format!("Get {a}"), get::<N, I, Read>);
        self.put(one.clone(), format!("Replace {a}"), replace::<N, I, Edit>);
        self.patch(one.clone(), format!("Change fields of {a}"), patch::<N, I, Edit>);
        self.delete(one, format!("Delete {a}"), delete::<N, I, Delete>);
        self
    }
}

/// How `{id}` tells which one.
pub(crate) trait Which<N: Noun>: Part + FromRequestParts<AppState, Rejection = Problem> + Send + 'static {
    /// The id.
    fn id(self) -> N::Id;
}

impl<N: Managed> Which<N> for Named<N> {
    fn id(self) -> N::Id {
        self.0
    }
}

impl<N: Managed> Which<N> for Unnamed<N> {
    fn id(self) -> N::Id {
        self.0
    }
}

/// The list of a noun.
///
/// # Errors
/// What the engine refuses; the same for every function here.
pub(crate) async fn list<N: Managed, P: Asked>(ctx: Authorized<P>, params: ListParams<N>) -> Answer<Listing<N>> {
    let page = crud::list::<N>(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

pub(crate) async fn create<N: Managed, P: Asked>(path: &'static str, ctx: Authorized<P>, Draft(draft): Draft<N>) -> Answer<Created<N>> {
    Ok(Created::noun(crud::create::<N>(&ctx, draft).await?, path))
}

pub(crate) async fn get<N: Managed, I: Which<N>, P: Asked>(ctx: Authorized<P>, which: I) -> Answer<One<N>> {
    Ok(One::noun(crud::get::<N>(&ctx, &which.id()).await?))
}

pub(crate) async fn replace<N: Managed, I: Which<N>, P: Asked>(
    ctx: Authorized<P>,
    which: I,
    IfMatch(revision): IfMatch,
    Draft(draft): Draft<N>,
) -> Answer<One<N>> {
    Ok(One::noun(crud::replace::<N>(&ctx, &which.id(), draft, revision).await?))
}

pub(crate) async fn patch<N: Managed, I: Which<N>, P: Asked>(
    ctx: Authorized<P>,
    which: I,
    IfMatch(revision): IfMatch,
    patch: MergePatch<N>,
) -> Answer<One<N>> {
    Ok(One::noun(crud::patch::<N>(&ctx, &which.id(), &patch.patch, revision).await?))
}

pub(crate) async fn delete<N: Managed, I: Which<N>, P: Asked>(
    ctx: Authorized<P>,
    which: I,
    IfMatch(revision): IfMatch,
) -> Answer<NoContent> {
    crud::delete::<N>(&ctx, &which.id(), revision).await?;
    Ok(NoContent)
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {}", kind.replace('_', " "))
}
