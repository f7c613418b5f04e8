package vectors_test

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"busd/bus"
	"busd/bustest"
	"busd/internal/mtls"
	"busd/internal/wire"
	"busd/msgclient"
	"busd/schema"
)

// document is the page that these tests hold to the code.
const document = "../../docs/protocol.md"

func readDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// table returns the rows of the table with that head, cell by cell.
func table(t *testing.T, head string) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(readDocument(t), "| "+head+" |\n")
	if !ok {
		t.Fatalf("%s: no table with the head %q", document, head)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestCodes compares the table of codes with bus.
func TestCodes(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, row := range table(t, "number | name | close code | meaning | usual retry") {
		c, ok := bus.ParseCode(row[1])
		want := []string{strconv.Itoa(int(c)), c.String(), strconv.Itoa(c.CloseCode()), row[3], c.Retry().String()}
		if !ok || row[3] == "" || strings.Join(row, "|") != strings.Join(want, "|") {
			t.Errorf("row %q: want %q", row, want)
		}
		listed[row[1]] = true
	}
	for _, c := range bus.Codes() {
		if !listed[c.String()] {
			t.Errorf("code %d %s is not in the table", c, c)
		}
	}
}

// TestAlerts compares the table of TLS alerts with mtls.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rows := table(t, "alert | name | code | retry")
	alerts := mtls.Alerts()
	if len(rows) != len(alerts)+1 {
		t.Fatalf("got %d rows, want one for each of %d alerts and one for others", len(rows), len(alerts))
	}
	for i, a := range alerts {
		want := fmt.Sprintf("%d|%s|%s|%s", a.Number, a.Name, a.Code, a.Retry)
		if got := strings.Join(rows[i], "|"); got != want {
			t.Errorf("got row %s, want %s", got, want)
		}
	}
	if got := strings.Join(rows[len(alerts)], "|"); got != "another||unavailable|after" {
		t.Errorf("last row: got %s", got)
	}
}

// TestKinds compares the table of frames with wire.
func TestKinds(t *testing.T) {
	t.Parallel()
	yes := map[bool]string{true: "yes", false: "no"}
	for i, row := range table(t, "kind | name | elements | said by | numbered | consumes credit") {
		k := wire.Kind(i)
		if row[0] != strconv.Itoa(i) || row[1] != k.String() || row[1] != kinds[i] {
			t.Errorf("row %q: want %d %s", row, i, k)
		}
		if k != wire.Part && (row[4] != yes[k.Numbered()] || row[5] != yes[k.Consumes()]) {
			t.Errorf("row %q: want numbered %s, consumes %s", row, yes[k.Numbered()], yes[k.Consumes()])
		}
	}
}

// TestStatuses asks our client what it makes of every HTTP status, and
// compares that with the table.
func TestStatuses(t *testing.T) {
	t.Parallel()
	rows := map[string][]string{}
	for _, row := range table(t, "status | code | retry") {
		rows[row[0]] = row
	}
	listener := bustest.Listen(t)
	go refuse(listener)
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1) // 400 full handshakes take seconds under the race detector
	for status := 200; status < 600; status++ {
		c, err := msgclient.New(msgclient.Config{
			URL: fmt.Sprintf("wss://%s/S/S%d", bustest.Host, status), TLS: conf, DialContext: listener.DialContext,
		})
		if err != nil {
			t.Fatal(err)
		}
		row, ok := rows[strconv.Itoa(status)]
		if !ok {
			row = rows["another but 101"]
		}
		var e *bus.Error
		if err := c.Connect(t.Context()); !errors.As(err, &e) {
			t.Fatalf("status %d: got %v", status, err)
		}
		if e.Code.String() != row[1] || e.Retry.When.String() != row[2] {
			t.Errorf("status %d: got %s, %s, want %s, %s", status, e.Code, e.Retry.When, row[1], row[2])
		}
		delete(rows, strconv.Itoa(status))
	}
	if delete(rows, "another but 101"); len(rows) > 0 {
		t.Errorf("rows that are no status: %v", rows)
	}
}

// refuse answers each request with the status that its path ends with.
func refuse(listener *bustest.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s Status\r\nContent-Length: 0\r\n\r\n", strings.TrimPrefix(req.URL.Path, "/S/S")) // the client says if it is not heard
		}
		_ = conn.Close()
	}
}

// TestExamples decodes every example, with our decoder and with the players'
// own, and compares it with its readable form. With -update it writes the
// bytes.
func TestExamples(t *testing.T) {
	t.Parallel()
	const fence = "```frame\n"
	parts := strings.Split(readDocument(t), fence)
	seen := map[int64]bool{}
	for i, part := range parts[1:] {
		block, rest, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatalf("block %d has no end", i)
		}
		var written strings.Builder
		lines := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
		for n := 0; n < len(lines); n++ {
			list, err := parseFrame(lines[n], nil)
			if err != nil {
				t.Fatalf("%q: %v", lines[n], err)
			}
			kind, _ := list[0].(int64)
			seen[kind] = true
			b := pack(nil, list)
			written.WriteString(lines[n] + "\n" + wrapped(b))
			if readable := showFrame(list); readable != lines[n] {
				t.Errorf("want the readable form %s, got %s", readable, lines[n])
			}
			checkDecodes(t, lines[n], list, b)
			text := ""
			for n+1 < len(lines) && isHex(lines[n+1]) {
				n++
				text += lines[n]
			}
			if got := strings.ReplaceAll(text, " ", ""); got != hex.EncodeToString(b) && !*update {
				t.Errorf("%s: got bytes %s, want %x", lines[n], got, b)
			}
		}
		parts[i+1] = written.String() + "```" + rest
	}
	for k := range int64(wire.Part) {
		if !seen[k] {
			t.Errorf("no example of frame %s", wire.Kind(k))
		}
	}
	if *update {
		compareFile(t, document, strings.Join(parts, fence))
	}
}

func isHex(line string) bool {
	return strings.Trim(line, "0123456789abcdef ") == "" && line != ""
}

// wrapped writes bytes in lines.
func wrapped(b []byte) string {
	const width = 64
	var text strings.Builder
	for len(b) > width {
		text.WriteString(hexOf(b[:width]) + "\n")
		b = b[width:]
	}
	return text.String() + hexOf(b) + "\n"
}

// checkDecodes holds a frame to what wire reads.
func checkDecodes(t *testing.T, line string, list []any, b []byte) {
	t.Helper()
	var f wire.Frame
	var err error
	for _, side := range []schema.Sender{schema.FromClient, schema.FromService} {
		d := wire.Decoder{Contract: wire.Compile(contract), From: side}
		if f, err = d.Next(b); err != nil {
			t.Errorf("%s: %v", line, err)
			return
		}
		if f.Fault == nil {
			break
		}
	}
	want, number := list[1], any(int64(f.N))
	if !f.Kind.Numbered() {
		want, number = nil, nil
	}
	if f.Fault != nil || f.Size != len(b) || show(list[0]) != strconv.Itoa(int(f.Kind)) || show(want) != show(number) {
		t.Errorf("%s: wire reads %+v", line, f)
	}
	if strings.Contains(line, " re=") && !strings.Contains(line, fmt.Sprintf(" re=%d", f.Re)) {
		t.Errorf("%s: wire reads re=%d", line, f.Re)
	}
	if strings.Contains(line, " timeout=") && !strings.Contains(line, fmt.Sprintf(" timeout=%d", f.Timeout.Milliseconds())) {
		t.Errorf("%s: wire reads timeout=%d", line, f.Timeout.Milliseconds())
	}
	if v, _, err := unpack(b); err != nil || !fits(list, v, nil) {
		t.Errorf("%s: the players read %v, %v", line, v, err)
	}
	var control error
	switch f.Kind {
	case wire.Hello:
		_, control = wire.DecodeHello(f.Body)
	case wire.Welcome:
		_, control = wire.DecodeWelcome(f.Body)
	case wire.Drop:
		_, control = wire.DecodeDrop(f.Body)
	case wire.Error:
		_, control = wire.DecodeError(f.Body)
	case wire.Goaway:
		_, control = wire.DecodeGoaway(f.Body)
	}
	if control != nil {
		t.Errorf("%s: %v", line, control)
	}
}

// TestCloseCodes asks our client what it makes of each close code.
func TestCloseCodes(t *testing.T) {
	t.Parallel()
	want := map[int]string{4066: "superseded", 4071: "invalid_message", 3000: "unknown"}
	for _, row := range table(t, "close code | code") {
		for _, word := range strings.FieldsFunc(row[0], func(r rune) bool { return r < '0' || r > '9' }) {
			if code, err := strconv.Atoi(word); err == nil {
				want[code] = row[1]
			}
		}
	}
	if len(want) < 12 {
		t.Fatalf("the table has only %v", want)
	}
	listener := bustest.Listen(t)
	for code, name := range want {
		go sayClose(t, listener, code)
		c, err := msgclient.New(msgclient.Config{
			URL: "wss://" + bustest.Host + "/" + serviceName, TLS: bustest.ClientTLS(t, bustest.DefaultPeer), DialContext: listener.DialContext,
		})
		if err == nil {
			err = c.Connect(t.Context())
		}
		if got := bus.CodeOf(err).String(); got != name {
			t.Errorf("close code %d: got %s, want %s (%v)", code, got, name, err)
		}
	}
}

// sayClose takes one connection and closes it instead of a welcome. 1005 and
// 1006 are never said: they stand for a close frame without a code, and for
// none.
func sayClose(t *testing.T, listener *bustest.Listener, code int) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := io.WriteString(conn, switching(req)); err != nil {
		t.Error(err)
		return
	}
	s := &socket{Conn: conn, in: in}
	if _, _, err := s.read(); err != nil {
		t.Error(err)
		return
	}
	switch code {
	case 1005:
		_ = s.write(opClose, nil) // the client says if it is not heard
	case 1006:
		return
	default:
		_ = s.write(opClose, []byte{byte(code >> 8), byte(code)}) // as above
	}
	_, _, _ = s.read() // its answer
}
