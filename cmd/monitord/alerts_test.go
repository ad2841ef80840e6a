package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestEndToEndAlertExamples checks each example of docs/alerts.md, and sends a test
// through its webhooks, to a server here.
func TestEndToEndAlertExamples(t *testing.T) {
	var mu sync.Mutex
	var bodies [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || !json.Valid(body) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		bodies = append(bodies, body)
	}))
	t.Cleanup(server.Close)
	text, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 5 {
		t.Fatalf("only %d examples", len(examples))
	}
	hooks := 0
	for i, example := range examples {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := newPlace(t, "")
			p.write(t, exampleHere(t, p, example[1], server.URL))
			if out, errs, exit := program(t, "check", "-c", p.config); exit != 0 || strings.Contains(out, "warning") {
				t.Fatalf("check: exit %d, %s%s\n%s", exit, out, errs, example[1])
			}
			for _, list := range []string{"alert", "upalert", "startupalert", "ackalert"} {
				if !regexp.MustCompile(`(?m)^\W*(watch\.period\.)?` + list + `\b[^\n]*(\n[^\n]*)?webhook`).MatchString(example[1]) {
					continue
				}
				hooks++
				before := len(bodies)
				if out, errs, exit := program(t, "test", "alert", "web:http", "-c", p.config, "--list", list); exit != 0 || len(bodies) != before+1 {
					t.Errorf("test of %s: exit %d, %s%s%d bodies", list, exit, out, errs, len(bodies)-before)
				}
			}
		})
	}
	if hooks < 10 {
		t.Errorf("only %d webhooks were tried", hooks)
	}
}

// exampleHere makes an example a configuration of this place: with a watch around it
// where it needs one, files for its secrets, and the server's address.
func exampleHere(t *testing.T, p place, example, server string) string {
	t.Helper()
	example = strings.ReplaceAll(example, "/etc/monitord/", p.folder+"/")
	example = strings.ReplaceAll(example, `format = "pagerduty"`, `format = "pagerduty", url = "`+server+`"`)
	example = regexp.MustCompile(`(url += ")https?://[^/"]+`).ReplaceAllString(example, "${1}"+server)
	for _, file := range regexp.MustCompile(`(\w+)_file += "([^"]+)"`).FindAllStringSubmatch(example, -1) {
		content := "a secret for " + file[1]
		if file[1] == "url" {
			content = server + "/services/" + file[1]
		}
		if err := os.WriteFile(filepath.Clean(file[2]), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	watch := "[hostgroups]\nweb = [\"127.0.0.1\"]\n[[watch]]\ngroup = \"web\"\nservice = \"http\"\ninterval = \"1m\"\nmonitor = { type = \"tcp\", port = 1 }\n"
	if !strings.Contains(example, "[watch.period]") {
		watch += "[[watch.period]]\nalert = [{ type = \"log\" }]\n"
	}
	return watch + example
}
