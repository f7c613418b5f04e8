package schema

import (
	"fmt"
	"strings"
)

// CheckService tells whether name may be a service's: "System/Component", each
// part a letter and then letters, digits or _, at most [MaxName] bytes.
func CheckService(name string) error {
	system, component, _ := strings.Cut(name, "/")
	if !isName(system) || !isName(component) {
		return fmt.Errorf("want System/Component, each part a letter and then letters, digits or _ (at most %d bytes), got %q", MaxName, cut(name))
	}
	return nil
}
