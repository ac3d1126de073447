//go:build tools

// Package loki names what `build` builds, so that go.mod and go.sum have it.
package loki

import _ "github.com/grafana/loki/v3/cmd/loki"
