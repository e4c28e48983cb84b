//! Every code that a diagnostic can carry, with its title.
//! Unaware of when each is given. Each code has a page in docs/errors and a plan in tests/corpus that provokes it.

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*
        /// All codes with their titles, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, $title)),*];
    };
}

codes! {
    SYNTAX = "E0101", "the text is not YAML";
    TAB = "E0102", "a tab where YAML wants blanks";
    UNQUOTED = "E0103", "an unquoted `{{`";
    DUPLICATE = "E0104", "a key stands twice";
    NUMBER_SPELLING = "E0105", "a number in a spelling that is read in two ways";
    TOO_LARGE = "E0106", "the text is too large or too deep";
    UNREADABLE = "E0107", "a plan file that cannot be read";
    UNKNOWN_KEY = "E0201", "an unknown key";
    LATER_KEY = "E0202", "a key that this version does not have yet";
    UNKNOWN_NEED = "E0203", "a step that does not exist";
    WRONG_TYPE = "E0204", "a value of another type than the key's";
    MISSING_KEY = "E0205", "a key is missing";
    CYCLE = "E0206", "steps that wait for each other";
    BAD_NAME = "E0207", "a name that cannot be one";
    HIDING = "E0208", "an inner step that hides an outer one";
    UNKNOWN_TYPE = "E0209", "an unknown step type";
    UNKNOWN_GATE = "E0210", "an unknown gate";
    UNKNOWN_POOL = "E0211", "an unknown pool";
    BODY = "E0212", "a step that does nothing, or two things";
    MISPLACED_KEY = "E0213", "a key that does not fit here";
    INNER_STEP = "E0214", "a step that cannot be named from here";
    UNKNOWN_WORD = "E0215", "a word that is not one of those allowed";
    BAD_DURATION = "E0301", "a bad duration";
    BAD_SIZE = "E0302", "a bad size";
    BAD_REGEX = "E0303", "a bad regular expression";
    OUT_OF_RANGE = "E0304", "a number out of its range";
    BAD_VALUE = "E0305", "a text that cannot be read";
    BAD_DEFAULT = "E0306", "a default that breaks the param's own rules";
    TEMPLATE = "E0401", "a template that cannot be read";
    UNKNOWN_NAME = "E0402", "a template names something that does not exist";
    UNKNOWN_OUTPUT = "E0403", "an output that the step does not have";
    NOT_HERE = "E0404", "a name that cannot be used here";
    SECRET_USE = "E0405", "a secret where it would be stored or changed";
    UNKNOWN_INPUT = "E0501", "an unknown input";
    MISSING_INPUT = "E0502", "a missing input";
    INPUT_TYPE = "E0503", "an input of another type";
    RECURSION = "E0601", "a plan that calls itself";
    VISIBLE_SECRET = "W0501", "a secret that everybody on the machine can see";
    PASTED_TEXT = "W0502", "text pasted into a script without quotes";
}

/// The title of a code.
#[must_use]
pub fn title(code: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == code).map(|(_, title)| *title)
}
