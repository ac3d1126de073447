// Pins the release of gitleaks whose labelled cases our detectors are tested on.
// proxy/core/tests/it/gitleaks.rs builds a copy of it with the files of instead/ in place of its own.
module portcullis.dev/tests/gitleaks

go 1.24.11

require github.com/zricethezav/gitleaks/v8 v8.30.1
