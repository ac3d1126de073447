// Package utils: stands in for gitleaks' own validate.go when it is built for us. Where that one checks a rule
// against its cases, this one writes the cases down, one JSON object a line.
package utils

import (
	"encoding/json"
	"os"

	"github.com/zricethezav/gitleaks/v8/config"
)

type labelled struct {
	Rule   string `json:"rule"`
	Secret bool   `json:"secret"`
	Text   string `json:"text"`
}

var lines = json.NewEncoder(os.Stdout)

func write(rule string, secret bool, text string) {
	if err := lines.Encode(labelled{rule, secret, text}); err != nil {
		panic(err)
	}
}

// Validate writes the cases of one rule.
func Validate(rule config.Rule, truePositives []string, falsePositives []string) *config.Rule {
	for _, text := range truePositives {
		write(rule.RuleID, true, text)
	}
	for _, text := range falsePositives {
		write(rule.RuleID, false, text)
	}
	return &rule
}

// ValidateWithPaths writes the positive cases of one rule. Its negative ones depend on the name of a file, which a
// database has not, and are left out.
func ValidateWithPaths(rule config.Rule, truePositives map[string]string, _ map[string]string) *config.Rule {
	for _, text := range truePositives {
		if text != "" {
			write(rule.RuleID, true, text)
		}
	}
	return &rule
}
