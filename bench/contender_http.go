package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

var httpContender = &contender{
	name: "http", title: "net/http",
	does:  "a handler of ten lines that decodes JSON and encodes it again; HTTPS keep-alive, HTTP/1.1",
	lacks: "no check of arguments beyond the decoder's, no access rules, no bounds",
	serve: func(s *serverSide) error { return serveHTTP(s, false) },
	call: func(_ context.Context, o dialOptions) (caller, error) {
		return newHTTPCaller(o, false, webPath, readPlain), nil
	},
}

var http2Contender = &contender{
	name: "http2", title: "net/http, HTTP/2",
	does:  "the same over HTTP/2: all callers on one connection",
	lacks: "as net/http",
	serve: func(s *serverSide) error { return serveHTTP(s, true) },
	call: func(_ context.Context, o dialOptions) (caller, error) {
		return newHTTPCaller(o, true, webPath, readPlain), nil
	},
}

func serveHTTP(s *serverSide, http2 bool) error {
	return serveWeb(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m callMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m) // a client that has gone hears nothing
	}), http2)
}

// An httpCaller posts JSON.
type httpCaller struct {
	client *http.Client
	url    string
	read   func(body []byte) (callMessage, error)
}

func newHTTPCaller(o dialOptions, http2 bool, path string, read func([]byte) (callMessage, error)) *httpCaller {
	return &httpCaller{client: webClient(o, http2, maxCallers), url: "https://" + o.Address + path, read: read}
}

func readPlain(body []byte) (m callMessage, err error) {
	err = json.Unmarshal(body, &m)
	return m, err
}

// Call makes a call.
func (c *httpCaller) Call(ctx context.Context, m callMessage) (callMessage, error) {
	in, err := json.Marshal(m)
	if err != nil {
		return callMessage{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(in))
	if err != nil {
		return callMessage{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(r)
	if err != nil {
		return callMessage{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return callMessage{}, err
	}
	if response.StatusCode != http.StatusOK {
		return callMessage{}, fmt.Errorf("%s: %s", response.Status, body)
	}
	return c.read(body)
}
