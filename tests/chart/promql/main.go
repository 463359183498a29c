// Reads expressions for Prometheus with its own parser. Standard input: a list of expressions. Standard output: what
// is wrong with them.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		log.Fatal(err)
	}
	for _, expression := range expressions {
		if _, err := parser.ParseExpr(expression); err != nil {
			fmt.Printf("%s: %v\n", expression, err)
		}
	}
}
