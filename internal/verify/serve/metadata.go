// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"dgbot.io/key-operator/internal/verify/index"
)

// The numbers of fields in the messages that metadata consists of: CheckResponse of envoy.service.auth.v3, and Struct, Value and ListValue of
// google.protobuf.
const (
	dynamicMetadataField protowire.Number = 4
	structFields         protowire.Number = 1
	mapKey               protowire.Number = 1
	mapValue             protowire.Number = 2
	numberValue          protowire.Number = 2
	stringValue          protowire.Number = 3
	listValue            protowire.Number = 6
	listValues           protowire.Number = 1
)

// encodeMetadata returns the field of a CheckResponse with the dynamic metadata of an accepted key, from which Envoy's rate limits and access logs
// read. Where there is one source, the cluster is empty and not in it.
//
// It is encoded here, because a structpb.Struct made an answer take 83 allocations instead of 19, and twice the time.
func encodeMetadata(key *index.Identity, cluster string) []byte {
	fields := make([]byte, 0, 512)
	for _, field := range [...]struct{ name, value string }{
		{"uid", key.UID}, {"keyID", key.KeyID}, {"environment", key.Environment}, {"chatbotID", key.ChatbotID}, {"label", key.Label},
		{"namespace", key.Namespace}, {"name", key.Name},
	} {
		fields = appendText(appendName(fields, field.name, sizeOfText(field.value)), field.value)
	}
	if cluster != "" {
		fields = appendText(appendName(fields, "cluster", sizeOfText(cluster)), cluster)
	}
	fields = appendName(fields, "revision", protowire.SizeTag(numberValue)+protowire.SizeFixed64())
	fields = protowire.AppendFixed64(protowire.AppendTag(fields, numberValue, protowire.Fixed64Type), math.Float64bits(float64(key.Revision)))
	fields = appendScopes(fields, key.Scopes)
	return protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, len(fields)+8), dynamicMetadataField, protowire.BytesType), fields)
}

// appendName appends the beginning of an entry of the map of a Struct: all but its Value, whose size is given.
func appendName(to []byte, name string, size int) []byte {
	entry := protowire.SizeTag(mapKey) + protowire.SizeBytes(len(name)) + protowire.SizeTag(mapValue) + protowire.SizeBytes(size)
	to = appendSize(to, structFields, entry)
	to = protowire.AppendString(protowire.AppendTag(to, mapKey, protowire.BytesType), name)
	return appendSize(to, mapValue, size)
}

// appendSize appends the beginning of a field with a size.
func appendSize(to []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, number, protowire.BytesType), uint64(size)) //nolint:gosec // a few hundred
}

// sizeOfText returns the size of a Value with a text, which appendText appends.
func sizeOfText(text string) int {
	return protowire.SizeTag(stringValue) + protowire.SizeBytes(len(text))
}

func appendText(to []byte, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(to, stringValue, protowire.BytesType), text)
}

func appendScopes(to []byte, scopes []string) []byte {
	list := 0
	for _, scope := range scopes {
		list += protowire.SizeTag(listValues) + protowire.SizeBytes(sizeOfText(scope))
	}
	to = appendSize(appendName(to, "scopes", protowire.SizeTag(listValue)+protowire.SizeBytes(list)), listValue, list)
	for _, scope := range scopes {
		to = appendText(appendSize(to, listValues, sizeOfText(scope)), scope)
	}
	return to
}
