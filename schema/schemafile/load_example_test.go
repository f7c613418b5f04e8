package schemafile_test

import (
	"fmt"

	"busd/schema/schemafile"
)

func ExampleLoad() {
	s, err := schemafile.Load("testdata/pingpong.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range s.Messages() {
		fmt.Println(d.Name, "from", d.From, "-", d.Doc)
	}
	// Output:
	// Ping from client - asks for a Pong with the same id
	// Pong from service - answers a Ping
}

func ExampleParse() {
	_, err := schemafile.Parse("ping.yaml", []byte(`
service: Framework/PingPong
messages:
  Ping: {from: client, atrs: {id: int}}
`), nil)
	fmt.Println(err)
	// Output:
	// ping.yaml:4:24: unknown key "atrs" (did you mean "attrs"?)
	// 	  Ping: {from: client, atrs: {id: int}}
	// 	                       ^
}
