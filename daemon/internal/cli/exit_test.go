package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"busd/bus"
	"busd/daemon/internal/config"
	"busd/schema"
)

func TestExitTable(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[int]bool{}
	last := -1
	for _, row := range exits {
		if row.code <= last {
			t.Errorf("%d stands after %d", row.code, last)
		}
		last, known[row.code] = row.code, true
		if line := fmt.Sprintf("%3d  %s\n", row.code, row.meaning); !strings.Contains(exitTable(), line) {
			t.Errorf("help exit-codes lacks %q", line)
		}
		if line := fmt.Sprintf("| %d | %s |\n", row.code, row.meaning); !strings.Contains(string(document), line) {
			t.Errorf("docs/cli.md lacks %q", line)
		}
	}
	for code, exit := range codeExits {
		if !known[exit] {
			t.Errorf("%s means exit code %d, which is not in the table", code, exit)
		}
	}
}

func TestExitOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("anything"), exitFailed},
		{usage("", "wrong"), exitUsage},
		{&config.Error{}, exitConfig},
		{served(bus.Errorf(bus.CodeFailedPrecondition, "key file")), exitConfig},
		{bus.Errorf(bus.CodeUnavailable, "nobody listens there"), exitNetwork},
		{&fault{what: "cannot connect", cause: bus.Errorf(bus.CodeUnauthenticated, "why")}, exitAuth},
		{&fault{what: "cannot connect", cause: bus.Errorf(bus.CodeFailedPrecondition, "a file"), exit: exitAuth}, exitAuth},
		{bus.Errorf(bus.CodePermissionDenied, "why"), exitNotAllowed},
		{fmt.Errorf("reading: %w", fs.ErrNotExist), exitNotFound},
		{bus.Errorf(bus.CodeAlreadyExists, "why"), exitConflict},
		{bus.Wrap(bus.CodeDeadlineExceeded, context.DeadlineExceeded, "why"), exitTimeout},
		{&schema.ValueError{Message: "Ping"}, exitSchema},
		{bus.Errorf(bus.CodeInvalidMessage, "why"), exitSchema},
		{fmt.Errorf("run: %w", errInterrupted), exitInterrupted},
		{context.Canceled, exitInterrupted},
		{served(bus.Wrap(bus.CodeCanceled, context.Canceled, "stopped at once")), exitInterrupted},
		{served(bus.Errorf(bus.CodeInternal, "no handler")), exitBug},
		{served(Advise(bus.Errorf(bus.CodeAlreadyExists, "in use"), "another")), exitConflict},
		{served(&config.Error{Faults: []*config.Fault{{Where: "a.yaml"}, {Where: "--listen"}}}), exitUsage},
		{served(&config.Error{Faults: []*config.Fault{{Where: "a.yaml"}, {Where: "environment BUSD_LISTEN"}}}), exitConfig},
		{refused(t.Context(), "no answer", bus.Errorf(bus.CodeUnavailable, "the handler says so")), exitFailed},
		{refused(t.Context(), "no answer", errInterrupted), exitInterrupted},
	} {
		if got := exitOf(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}
