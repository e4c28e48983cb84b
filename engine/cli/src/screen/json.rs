//! What happened, as one JSON object a line, for programs.
//! Unaware of who reads them.

use flowrun_engine::driver::snapshot::Notice;

/// One line, without its end.
#[must_use]
pub fn line(notice: &Notice) -> Option<String> {
    // Notices have only string keys, so this cannot fail; a line that could not be written is left out.
    serde_json::to_string(notice).ok()
}

#[cfg(test)]
mod tests {
    use super::line;
    use flowrun_core::event::RunState;
    use flowrun_engine::driver::snapshot::Notice;

    #[test]
    fn a_notice_is_one_line_that_names_its_event() {
        let notice = Notice::Ended { state: RunState::Failed, interrupted: false, took: 7, at: 9 };
        assert_eq!(line(&notice).unwrap(), r#"{"event":"ended","state":"failed","interrupted":false,"took":7,"at":9}"#);
        let said = line(&Notice::Said { text: "two\nlines".into() }).unwrap();
        assert!(!said.contains('\n'));
    }
}
