// Package utils: stands in for gitleaks' own validate.go when it is built for us. Where that one checks a rule
// against its cases, this one writes the cases down, one JSON object a line, with the secrets that the rule finds in
// them.
package utils

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/zricethezav/gitleaks/v8/cmd/generate/config/base"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/report"
)

type labelled struct {
	Rule    string   `json:"rule"`
	Secret  bool     `json:"secret"`
	Secrets []string `json:"secrets"`
	Text    string   `json:"text"`
}

var lines = json.NewEncoder(os.Stdout)

func write(rule config.Rule, text string, found []report.Finding, secret bool) {
	secrets := []string{}
	for _, finding := range found {
		secrets = append(secrets, finding.Secret)
	}
	if err := lines.Encode(labelled{rule.RuleID, secret, secrets, text}); err != nil {
		panic(err)
	}
}

// Validate writes the cases of one rule.
func Validate(rule config.Rule, truePositives []string, falsePositives []string) *config.Rule {
	detector := alone(rule)
	for _, text := range truePositives {
		write(rule, text, detector.DetectString(text), true)
	}
	for _, text := range falsePositives {
		write(rule, text, nil, false)
	}
	return &rule
}

// ValidateWithPaths writes the positive cases of one rule. Its negative ones depend on the name of a file, which a
// database has not, and are left out.
func ValidateWithPaths(rule config.Rule, truePositives map[string]string, _ map[string]string) *config.Rule {
	detector := alone(rule)
	for path, text := range truePositives {
		if text != "" {
			write(rule, text, detector.Detect(detect.Fragment{Raw: text, FilePath: path}), true)
		}
	}
	return &rule
}

// A detector of this rule, as gitleaks' own makes it.
func alone(rule config.Rule) *detect.Detector {
	keywords := make(map[string]struct{})
	for i, keyword := range rule.Keywords {
		rule.Keywords[i] = strings.ToLower(keyword)
		keywords[rule.Keywords[i]] = struct{}{}
	}
	made := base.CreateGlobalConfig()
	made.Rules = map[string]config.Rule{rule.RuleID: rule}
	made.Keywords = keywords
	return detect.NewDetector(made)
}
