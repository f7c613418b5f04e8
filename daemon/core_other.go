//go:build !unix

package daemon

import "go.uber.org/zap"

// noCore: there are no core dumps to keep anything out of.
func noCore(*zap.Logger) {}
