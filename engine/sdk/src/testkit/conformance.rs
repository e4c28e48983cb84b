//! What every step type must keep to, whatever it does, tried on a sample of each.
//! Unaware of what any type does: a sample brings its inputs and tells what the world looks like.

use super::{Crash, Fate, Kit};
use crate::error::ErrorKind;
use crate::{DynStepType, Found, Registry, StepError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A text in a sample's inputs that may appear nowhere.
pub const SECRET: &str = "s3cr3t-of-the-sample";
/// A cancelled attempt has ended after so long: the grace that a plan gives unless it says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// What a type is tried on.
pub struct Sample {
    /// Makes what the inputs need in the step's folder, the same each time.
    pub prepare: fn(&Path),
    /// Inputs of an attempt that succeeds; [`SECRET`] among them where the type takes a text.
    pub input: Value,
    /// Inputs of an attempt that lasts longer than anybody waits; none: the work is over at once.
    pub lasting: Option<Value>,
    /// Inputs of attempts that fail.
    pub failing: Vec<Value>,
    /// What the world looks like, as a text without places and times: one effect looks the same every time, two look
    /// different.
    pub effect: fn(&Path) -> String,
}

/// Tries every type on its sample; what they do not keep to, one line each.
pub async fn conformance(registry: &Registry, samples: &BTreeMap<&str, Sample>) -> Vec<String> {
    let mut faults = Vec::new();
    for name in samples.keys().filter(|name| registry.get(name).is_none()) {
        faults.push(format!("`{name}` has a sample and is no step type"));
    }
    for step in registry.iter() {
        let name = step.info().name;
        match samples.get(name) {
            None => faults.push(format!("`{name}` has no sample")),
            Some(sample) => {
                let mut trial = Trial { step: step.as_ref(), sample, faults: Vec::new() };
                if let Err(error) = trial.all().await {
                    trial.faults.push(format!("no folder for its trial: {error}"));
                }
                faults.extend(trial.faults.into_iter().map(|fault| format!("`{name}`: {fault}")));
            }
        }
    }
    faults
}

struct Trial<'a> {
    step: &'a dyn DynStepType,
    sample: &'a Sample,
    faults: Vec<String>,
}

/// What an undisturbed attempt did.
struct Undisturbed {
    outputs: String,
    effect: String,
    notes: usize,
    children: usize,
}

impl Trial<'_> {
    async fn all(&mut self) -> std::io::Result<()> {
        self.says_what_it_is();
        self.refuses_unknown_inputs();
        self.cancelled_before_it_starts().await?;
        self.cancelled_in_the_midst().await?;
        self.fails_in_words().await?;
        if let Some(undisturbed) = self.undisturbed().await? {
            for crash in crashes(&undisturbed) {
                self.one_effect(&undisturbed, crash).await?;
            }
        }
        Ok(())
    }

    fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    fn kit(&self) -> std::io::Result<Kit> {
        let kit = Kit::new()?;
        kit.secret(SECRET);
        (self.sample.prepare)(&kit.dir());
        Ok(kit)
    }

    fn says_what_it_is(&mut self) {
        let info = self.step.info().clone();
        if info.summary.is_empty() || info.reconcile.is_empty() {
            self.fault("says nothing of itself or of what `reconcile` answers");
        }
        for (schema, what) in [(&info.input, "input"), (&info.output, "output")] {
            let mut undocumented = Vec::new();
            undocumented_in(schema.as_value(), "", &mut undocumented);
            self.faults.extend(undocumented.into_iter().map(|place| format!("{what}{place} is not documented")));
        }
        let mut open = Vec::new();
        open_in(info.input.as_value(), "", &mut open);
        self.faults.extend(open.into_iter().map(|place| format!("input{place} takes unknown keys")));
    }

    fn refuses_unknown_inputs(&mut self) {
        let mut input = self.sample.input.clone();
        if let Err(error) = self.step.validate(&input) {
            self.fault(format!("its sample is refused: {error}"));
        }
        if let Some(map) = input.as_object_mut() {
            map.insert("no_such_input".to_owned(), json!(1));
        }
        match self.step.validate(&input) {
            Err(error) if error.message.contains("no_such_input") => {}
            Err(error) => self.fault(format!("refuses an unknown input without naming it: {error}")),
            Ok(()) => self.fault("takes an unknown input"),
        }
    }

    async fn cancelled_before_it_starts(&mut self) -> std::io::Result<()> {
        let kit = self.kit()?;
        kit.cancel();
        let before = (self.sample.effect)(&kit.dir());
        let fate = tokio::time::timeout(GRACE, kit.run(self.step, self.sample.input.clone(), None)).await;
        self.must_be_cancelled(fate.ok(), "before it started");
        if (self.sample.effect)(&kit.dir()) != before {
            self.fault("had an effect though it was cancelled before");
        }
        Ok(())
    }

    async fn cancelled_in_the_midst(&mut self) -> std::io::Result<()> {
        let Some(input) = self.sample.lasting.clone() else { return Ok(()) };
        let kit = self.kit()?;
        let before = (self.sample.effect)(&kit.dir());
        let stop = async {
            kit.stirred().await;
            kit.cancel();
            tokio::time::sleep(GRACE).await;
        };
        let fate = tokio::select! {
            fate = kit.run(self.step, input, None) => Some(fate),
            () = stop => None,
        };
        self.must_be_cancelled(fate, "in the midst");
        if !self.step.info().adoptable && (self.sample.effect)(&kit.dir()) != before {
            self.fault("left something half done when it was cancelled");
        }
        Ok(())
    }

    fn must_be_cancelled(&mut self, fate: Option<Fate>, when: &str) {
        match fate {
            Some(Fate::Ended(Err(error))) if error.kind == ErrorKind::Cancelled => {}
            None => self.fault(format!("cancelled {when} it goes on after its grace")),
            Some(Fate::Ended(other)) => self.fault(format!("cancelled {when} it answers {other:?}")),
            Some(Fate::Crashed) => self.fault(format!("cancelled {when} it crashed")),
        }
    }

    async fn fails_in_words(&mut self) -> std::io::Result<()> {
        if self.sample.failing.is_empty() {
            self.fault("its sample names no inputs that fail");
        }
        for input in self.sample.failing.clone() {
            let kit = self.kit()?;
            let fate = kit.run(self.step, input.clone(), None).await;
            match fate {
                Fate::Ended(Err(error)) => self.judge_words(&error),
                Fate::Ended(Ok(_)) | Fate::Crashed => self.fault(format!("does not fail with {input}")),
            }
            self.no_secret(&kit);
        }
        Ok(())
    }

    fn judge_words(&mut self, error: &StepError) {
        let words = [Some(&error.message), error.hint.as_ref()];
        for words in words.into_iter().flatten() {
            if words.contains(SECRET) {
                self.fault(format!("shows a secret in `{words}`"));
            }
            if words.ends_with('.') || words.starts_with(char::is_uppercase) || words.is_empty() {
                self.fault(format!("words an error as a sentence: `{words}`"));
            }
        }
    }

    fn no_secret(&mut self, kit: &Kit) {
        if kit.log().contains(SECRET) {
            self.fault("shows a secret in its log");
        }
        if kit.notes().iter().any(|note| note.value.to_string().contains(SECRET)) {
            self.fault("notes a secret");
        }
        if kit.progress().iter().any(|progress| progress.unit.contains(SECRET)) {
            self.fault("shows a secret as progress");
        }
    }

    async fn undisturbed(&mut self) -> std::io::Result<Option<Undisturbed>> {
        let kit = self.kit()?;
        let fate = kit.run(self.step, self.sample.input.clone(), None).await;
        self.no_secret(&kit);
        let Fate::Ended(Ok(outputs)) = fate else {
            self.fault(format!("its sample does not succeed: {fate:?}"));
            return Ok(None);
        };
        Ok(Some(Undisturbed {
            outputs: placeless(&outputs, &kit),
            effect: (self.sample.effect)(&kit.dir()),
            notes: kit.notes().len(),
            children: kit.children(),
        }))
    }

    /// A crash here, then what a resume does: the world looks as if nothing had happened.
    async fn one_effect(&mut self, undisturbed: &Undisturbed, crash: Crash) -> std::io::Result<()> {
        let kit = self.kit()?;
        let input = &self.sample.input;
        if kit.run(self.step, input.clone(), Some(crash)).await != Fate::Crashed {
            self.fault(format!("{crash:?} did not strike"));
        }
        let outputs = if self.step.info().adoptable {
            match kit.run(self.step, input.clone(), None).await {
                Fate::Ended(Ok(outputs)) => outputs,
                other => {
                    self.fault(format!("after {crash:?} the adopted attempt answers {other:?}"));
                    return Ok(());
                }
            }
        } else {
            match self.resume(&kit, crash).await {
                Some(outputs) => outputs,
                None => return Ok(()),
            }
        };
        let (outputs, effect) = (placeless(&outputs, &kit), (self.sample.effect)(&kit.dir()));
        if outputs != undisturbed.outputs {
            self.fault(format!("after {crash:?} hands out {outputs} instead of {}", undisturbed.outputs));
        }
        if effect != undisturbed.effect {
            self.fault(format!("after {crash:?} leaves `{effect}` instead of `{}`", undisturbed.effect));
        }
        Ok(())
    }

    async fn resume(&mut self, kit: &Kit, crash: Crash) -> Option<Value> {
        let first = self.step.reconcile(&kit.cx(), self.sample.input.clone()).await;
        let second = self.step.reconcile(&kit.cx(), self.sample.input.clone()).await;
        if first != second {
            self.fault(format!("after {crash:?} answers {first:?}, and asked again {second:?}"));
        }
        match second {
            Ok(Found::Done(outputs)) => Some(outputs),
            Ok(Found::NotDone) if crash == Crash::BeforeReport => {
                self.fault("does not find its own whole effect");
                None
            }
            Ok(Found::NotDone) => {
                kit.next_attempt();
                match kit.run(self.step, self.sample.input.clone(), None).await {
                    Fate::Ended(Ok(outputs)) => Some(outputs),
                    other => {
                        self.fault(format!("after {crash:?} the next attempt answers {other:?}"));
                        None
                    }
                }
            }
            Ok(Found::Unknown { .. }) if !self.step.info().unknowns.is_empty() => None,
            other => {
                self.fault(format!("after {crash:?} `reconcile` answers {other:?}"));
                None
            }
        }
    }
}

fn crashes(undisturbed: &Undisturbed) -> Vec<Crash> {
    let notes = 1..=undisturbed.notes;
    let mut crashes: Vec<_> = notes.flat_map(|n| [Crash::BeforeNote(n), Crash::AfterNote(n)]).collect();
    crashes.extend((1..=undisturbed.children).map(Crash::AfterChild));
    crashes.push(Crash::BeforeReport);
    crashes
}

fn placeless(outputs: &Value, kit: &Kit) -> String {
    outputs.to_string().replace(&*kit.dir().to_string_lossy(), "DIR")
}

/// Properties and choices without a word about them.
fn undocumented_in(schema: &Value, place: &str, found: &mut Vec<String>) {
    let documented = |schema: &Value| schema["description"].as_str().is_some_and(|words| !words.is_empty());
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if !documented(property) {
            found.push(format!("{place}.{name}"));
        }
    }
    if schema.get("enum").is_some() {
        found.push(format!("{place}: a choice"));
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten().filter(|choice| !documented(choice)) {
        found.push(format!("{place}: {choice}"));
    }
    below(schema, place, found, undocumented_in);
}

/// Objects that take any key.
fn open_in(schema: &Value, place: &str, found: &mut Vec<String>) {
    if schema.get("properties").is_some() && schema["additionalProperties"] != json!(false) {
        found.push(place.to_owned());
    }
    below(schema, place, found, open_in);
}

fn below(schema: &Value, place: &str, found: &mut Vec<String>, look: fn(&Value, &str, &mut Vec<String>)) {
    for key in ["properties", "$defs"] {
        for (name, inner) in schema[key].as_object().into_iter().flatten() {
            look(inner, &format!("{place}.{name}"), found);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            look(inner, &format!("{place}[]"), found);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema[key].as_array().into_iter().flatten() {
            look(inner, place, found);
        }
    }
}
