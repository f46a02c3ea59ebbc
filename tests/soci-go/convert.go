package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// convert LAYOUT DIGEST SPAN MIN TOOL OUT [PREFETCH…]: converts an image of a layout, all platforms, with
// the xattr optimization, as `soci convert` does; prints the new index's digest. What is new goes to OUT.
func convert(args []string) {
	check(len(args) >= 6, "usage: soci-read --convert LAYOUT DIGEST SPAN MIN TOOL OUT [PREFETCH...]")
	ctx := context.Background()
	cs, err := local.NewStore(args[0])
	must(err, "layout")
	dgst, err := digest.Parse(args[1])
	must(err, "digest")
	raw, err := os.ReadFile(filepath.Join(args[0], "blobs", dgst.Algorithm().String(), dgst.Encoded()))
	must(err, "image")
	var top struct {
		MediaType string               `json:"mediaType"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	must(json.Unmarshal(raw, &top), "image")
	span, err := strconv.ParseInt(args[2], 10, 64)
	must(err, "span")
	least, err := strconv.ParseInt(args[3], 10, 64)
	must(err, "min")
	blobs, err := store.NewSociStore(args[5])
	must(err, "store")
	db, err := soci.NewDB(filepath.Join(args[5], "db"))
	must(err, "db")
	b, err := soci.NewIndexBuilder(cs, blobs, soci.WithSpanSize(span), soci.WithMinLayerSize(least),
		soci.WithBuildToolIdentifier(args[4]), soci.WithArtifactsDb(db), soci.WithPrefetchPaths(args[6:]),
		soci.WithOptimizations([]soci.Optimization{soci.XAttrOptimization}))
	must(err, "builder")
	var platforms []ocispec.Platform
	for _, m := range top.Manifests {
		if m.Platform != nil {
			platforms = append(platforms, *m.Platform)
		}
	}
	desc, err := b.Convert(ctx, images.Image{Name: "image", Target: ocispec.Descriptor{
		MediaType: top.MediaType, Digest: dgst, Size: int64(len(raw))}}, soci.ConvertWithPlatforms(platforms...))
	must(err, "convert")
	fmt.Println(desc.Digest)
}
