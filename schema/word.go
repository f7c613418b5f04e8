package schema

import "fmt"

// The words that stand for kinds, senders and classes in documents and files.
// They are part of the contract's form: a word is never changed.
var (
	kindWords = [...]string{
		Any: "any", Bool: "bool", Int: "int", Float: "float", String: "string", Bytes: "bytes",
		Time: "time", Enum: "enum", List: "list", Map: "map", Struct: "struct",
	}
	senderWords = [...]string{FromBoth: "both", FromClient: "client", FromService: "service"}
	classWords  = [...]string{Must: "must", Latest: "latest", Volatile: "volatile"}
)

// String returns the kind's word, such as "int".
func (k Kind) String() string { return wordOf(kindWords[:], int(k), "kind") }

// String returns the sender's word: "client", "service" or "both".
func (s Sender) String() string { return wordOf(senderWords[:], int(s), "sender") }

// String returns the class's word: "must", "latest" or "volatile".
func (c Class) String() string { return wordOf(classWords[:], int(c), "class") }

// ParseKind reads a kind's word. It tells false for any other word.
func ParseKind(word string) (Kind, bool) {
	i, ok := indexOf(kindWords[:], word)
	return Kind(i), ok
}

// ParseSender reads a sender's word. It tells false for any other word.
func ParseSender(word string) (Sender, bool) {
	i, ok := indexOf(senderWords[:], word)
	return Sender(i), ok
}

// ParseClass reads a class's word. It tells false for any other word.
func ParseClass(word string) (Class, bool) {
	i, ok := indexOf(classWords[:], word)
	return Class(i), ok
}

// client tells whether clients may send.
func (s Sender) client() bool { return s == FromBoth || s == FromClient }

// service tells whether the service may send.
func (s Sender) service() bool { return s == FromBoth || s == FromService }

func wordOf(words []string, i int, what string) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("%s(%d)", what, i)
}

func indexOf(words []string, word string) (uint8, bool) {
	for i, w := range words {
		if w == word {
			return uint8(i), true
		}
	}
	return 0, false
}
