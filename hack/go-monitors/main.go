// Holds documents of monitoring.coreos.com/v1, in YAML or JSON, against the Prometheus Operator's own types.
//
// Arguments are files; without any, standard input is read. A field that the type of a document's kind does not
// have, a value of another type, a field given twice, another kind, and an input without a document are errors.
// What is accepted is named on standard output, what is wrong on standard error, and the exit code is then 1.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	decoder, err := strictDecoder()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	refused := 0
	for _, name := range os.Args[1:] {
		file, err := os.Open(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			refused++
			continue
		}
		refused += check(decoder, name, file)
		file.Close()
	}
	if len(os.Args) == 1 {
		refused += check(decoder, "stdin", os.Stdin)
	}
	if refused > 0 {
		os.Exit(1)
	}
}

// strictDecoder knows the kinds of monitoring.coreos.com/v1 and nothing else.
func strictDecoder() (runtime.Decoder, error) {
	scheme := runtime.NewScheme()
	if err := monitoring.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer(), nil
}

// check says of each document of one input whether it is accepted, and returns how many are not.
func check(decoder runtime.Decoder, input string, content io.Reader) int {
	reader := documents.NewYAMLReader(bufio.NewReader(content))
	seen, refused := 0, 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", input, err)
			return refused + 1
		}
		if empty(document) {
			continue
		}
		seen++
		label := fmt.Sprintf("%s/%s", input, identity(document, seen))
		if _, _, err := decoder.Decode(document, nil, nil); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", label, strings.TrimPrefix(err.Error(), "strict decoding error: "))
			refused++
			continue
		}
		fmt.Printf("%s: accepted\n", label)
	}
	if seen == 0 {
		fmt.Fprintf(os.Stderr, "%s: no document\n", input)
		return 1
	}
	return refused
}

// empty holds of a document of comments and blanks alone, as helm leaves them behind.
func empty(document []byte) bool {
	var value any
	return yaml.Unmarshal(document, &value) == nil && value == nil
}

// identity is kind/name, or the document's number where it is not known.
func identity(document []byte, number int) string {
	var found struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal(document, &found); err != nil || found.Kind == "" {
		return fmt.Sprintf("document %d", number)
	}
	return fmt.Sprintf("%s/%s", found.Kind, found.Metadata.Name)
}
