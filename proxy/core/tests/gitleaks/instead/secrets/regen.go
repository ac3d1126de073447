// Package secrets: stands in for gitleaks' generator of random secrets, so that every run makes the same ones.
package secrets

import "github.com/lucasjones/reggen"

var seed int64

// NewSecret makes up a text that regex matches.
func NewSecret(regex string) string {
	generator, err := reggen.NewGenerator(regex)
	if err != nil {
		panic(err)
	}
	seed++
	generator.SetSeed(seed)
	return generator.Generate(1)
}
