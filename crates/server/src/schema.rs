//! What `certctl-server migrate plan`, `status` and `check` tell: which migrations are applied, what each does to older programs, and
//! whether a program can run on the schema.

use certctl_store::db::Db;
use certctl_store::migrate::{self, Class, Verdict};
use serde::Serialize;

use crate::boot::{self, BootError};
use crate::config::{DatabaseSettings, DatabaseUrl};

/// The schema of a database, against what this program knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// The newest migration in the database; 0 when there is none.
    pub schema: i64,
    /// The newest migration that this program knows.
    pub known: i64,
    /// The oldest program that can run on the schema as it is, by the newest migration that it knows.
    pub oldest_program: i64,
    /// Whether this program can run on it.
    pub this_program: Verdict,
    /// All migrations, in order.
    pub migrations: Vec<Migration>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its number.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// What it does to older programs; unknown of one that a newer program applied.
    pub class: Option<Class>,
    /// Whether it is in the database.
    pub state: State,
    /// The oldest program that can run after it.
    pub oldest_program: Option<i64>,
}

/// Whether a migration is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Applied,
    /// It is not.
    Pending,
}

/// What this program would do to the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The newest migration in the database.
    pub schema: i64,
    /// The newest one afterwards.
    pub schema_after: i64,
    /// The oldest program that can run on it now.
    pub oldest_program: i64,
    /// The oldest program that can run on it afterwards.
    pub oldest_program_after: i64,
    /// What would be applied, in order.
    pub pending: Vec<Migration>,
}

/// A program that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    given: String,
    newest: i64,
}

/// Whether a program can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// As it was asked for.
    pub target: String,
    /// The newest migration that it knows.
    pub target_knows: i64,
    /// The newest migration in the database.
    pub schema: i64,
    /// The oldest program that can run on the schema as it is.
    pub oldest_program: i64,
    /// Whether it can run on the schema as it is.
    pub now: Verdict,
    /// Whether it could run once this program had applied what is pending.
    pub after_pending: Verdict,
}

impl Target {
    /// A release, or the number of a migration.
    ///
    /// # Errors
    /// When it is neither; says which releases there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        migrate::program(text).map(|newest| Self { given: text.to_owned(), newest }).ok_or_else(|| {
            let known: Vec<_> = migrate::releases().iter().map(|(release, _)| *release).collect();
            format!(
                "this program knows the releases {}; of another one give the number of its newest migration, which its own `certctl-server migrate status` shows",
                known.join(", ")
            )
        })
    }
}

impl Schema {
    /// Looks at the database of the configuration, and changes nothing in it.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn look(database: &DatabaseSettings) -> Result<Self, BootError> {
        if let DatabaseUrl::Sqlite { path } = &database.url
            && !path.is_file()
        {
            // Looking makes no file.
            return Ok(Self::of(&[], 1));
        }
        let db = Db::open_within(&boot::open_options(database), database.acquire_timeout).await?;
        let (applied, oldest) = (migrate::applied(&db).await?, migrate::oldest(&db).await?);
        db.close().await;
        Ok(Self::of(&applied, oldest.unwrap_or(1)))
    }

    /// From what is applied, and the oldest program that the database allows.
    #[must_use]
    pub fn of(applied: &[(i64, String)], oldest_program: i64) -> Self {
        let (schema, known) = (applied.last().map_or(0, |(number, _)| *number), migrate::known());
        let mut migrations: Vec<Migration> = migrate::steps()
            .iter()
            .map(|step| Migration {
                number: step.version,
                name: step.name.to_owned(),
                class: Some(step.head().class),
                state: if applied.iter().any(|(number, _)| *number == step.version) { State::Applied } else { State::Pending },
                oldest_program: Some(migrate::oldest_after(step.version)),
            })
            .collect();
        let newer = applied.iter().filter(|(number, _)| *number > known);
        migrations.extend(newer.map(|(number, name)| Migration {
            number: *number,
            name: name.clone(),
            class: None,
            state: State::Applied,
            oldest_program: (*number == schema).then_some(oldest_program),
        }));
        Self { schema, known, oldest_program, this_program: migrate::verdict(known, schema, oldest_program), migrations }
    }

    /// What this program would do.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let pending: Vec<Migration> = self.migrations.iter().filter(|one| one.state == State::Pending).cloned().collect();
        let schema_after = self.schema.max(self.known);
        let oldest_program_after = if pending.is_empty() { self.oldest_program } else { migrate::oldest_after(schema_after) };
        Plan { schema: self.schema, schema_after, oldest_program: self.oldest_program, oldest_program_after, pending }
    }

    /// Whether another program can run.
    #[must_use]
    pub fn check(&self, target: &Target) -> Answer {
        let plan = self.plan();
        Answer {
            target: target.given.clone(),
            target_knows: target.newest,
            schema: self.schema,
            oldest_program: self.oldest_program,
            now: migrate::verdict(target.newest, self.schema, self.oldest_program),
            after_pending: migrate::verdict(target.newest, plan.schema_after, plan.oldest_program_after),
        }
    }

    /// The plan for people.
    #[must_use]
    pub fn plan_text(&self) -> String {
        let plan = self.plan();
        if plan.pending.is_empty() {
            return format!("the schema is at {}: nothing to do\n{}", self.schema, runs_text(plan.oldest_program));
        }
        format!(
            "the schema is at {}, and would be brought to {}\n{}{}",
            plan.schema,
            plan.schema_after,
            table(&plan.pending),
            runs_text(plan.oldest_program_after)
        )
    }

    /// All of it for people.
    #[must_use]
    pub fn status_text(&self) -> String {
        let this = match self.this_program {
            Verdict::Runs if self.schema > self.known => "it is newer than this program, which can go on",
            Verdict::Runs => "this program is up to date with it",
            Verdict::MigratesFirst => "this program applies what is pending before it serves",
            Verdict::TooOld => "this program is too old for it, and refuses to serve",
        };
        format!(
            "the schema is at {}, this program knows {}: {this}\n{}{}",
            self.schema,
            self.known,
            table(&self.migrations),
            runs_text(self.oldest_program)
        )
    }
}

impl Answer {
    /// Whether it can run on the schema as it is, be it after migrations of its own.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.now != Verdict::TooOld
    }

    /// The answer for people.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { target, target_knows, schema, oldest_program, .. } = self;
        let mut text = match self.now {
            Verdict::Runs => format!("yes: {target} (knows migration {target_knows}) can run on the schema, which is at {schema}"),
            Verdict::MigratesFirst => {
                format!("yes: {target} (knows migration {target_knows}) brings the schema from {schema} to {target_knows} before it serves")
            }
            Verdict::TooOld => format!(
                "no: {target} (knows migration {target_knows}) refuses the schema, which is at {schema} and for programs that know {oldest_program} or newer\n\
                 go forward to a fixed release, or restore the backup from before the upgrade"
            ),
        };
        if self.now != Verdict::TooOld && self.after_pending == Verdict::TooOld {
            text.push_str("\nno longer once this program has applied what is pending: see `certctl-server migrate plan`");
        }
        text
    }
}

fn runs_text(oldest: i64) -> String {
    let name = migrate::name(oldest).map_or_else(String::new, |name| format!(" ({name})"));
    format!("programs that know migration {oldest}{name} or newer can run on it")
}

fn table(migrations: &[Migration]) -> String {
    let mut text = String::new();
    let width = migrations.iter().map(|one| one.name.len()).max().unwrap_or(0);
    for one in migrations {
        let class = one.class.map_or("unknown", Class::as_str);
        let state = match one.state {
            State::Applied => "applied",
            State::Pending => "pending",
        };
        let oldest = one.oldest_program.filter(|_| one.class != Some(Class::Expand) && one.class != Some(Class::Data));
        let oldest = oldest.map_or_else(String::new, |oldest| format!("  for programs that know {oldest} or newer"));
        text.push_str(&format!("  {:<width$}  {class:<8}  {state}{oldest}\n", one.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(newest: i64) -> Vec<(i64, String)> {
        let mut applied: Vec<_> = migrate::steps().iter().map(|step| (step.version, step.name.to_owned())).collect();
        applied.retain(|(number, _)| *number <= newest);
        applied
    }

    /// A database that a release of the future has taken on.
    fn future(oldest: i64) -> Schema {
        let mut applied = applied(migrate::known());
        applied.push((migrate::known() + 1, "from_the_future".to_owned()));
        Schema::of(&applied, oldest)
    }

    #[test]
    fn people_read_these() {
        let known = migrate::known();
        let mut page = String::new();
        for (what, schema) in [
            ("nothing there", Schema::of(&[], 1)),
            ("one behind", Schema::of(&applied(known - 1), 1)),
            ("up to date", Schema::of(&applied(known), 1)),
            ("newer, within the window", future(known)),
            ("newer, outside of it", future(known + 1)),
        ] {
            page.push_str(&format!("=== {what}\n--- plan\n{}\n--- status\n{}\n", schema.plan_text(), schema.status_text()));
            for target in ["0.1.0", "1", "8"] {
                page.push_str(&format!("--- check {target}\n{}\n", schema.check(&Target::parse(target).unwrap()).text()));
            }
        }
        insta::assert_snapshot!(page);
    }

    #[test]
    fn programs_read_these() {
        let schema = future(migrate::known() + 1);
        insta::assert_json_snapshot!("status", schema);
        insta::assert_json_snapshot!("plan", Schema::of(&applied(migrate::known() - 1), 1).plan());
        insta::assert_json_snapshot!("check", schema.check(&Target::parse("0.1.0").unwrap()));
    }

    #[test]
    fn a_release_that_nobody_knows_is_told() {
        let said = Target::parse("9.9.9").unwrap_err();
        assert!(said.contains("0.1.0") && said.contains("migrate status"), "{said}");
    }
}
