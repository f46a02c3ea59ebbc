--- Media types of images (image-spec, media-types.md; Docker's schema 2), by format and what they are of.
local OCI, DOCKER = "application/vnd.oci.", "application/vnd.docker."

return {
  oci = { manifest = OCI .. "image.manifest.v1+json", index = OCI .. "image.index.v1+json",
    config = OCI .. "image.config.v1+json", gzip = OCI .. "image.layer.v1.tar+gzip", zstd = OCI .. "image.layer.v1.tar+zstd",
    none = OCI .. "image.layer.v1.tar", foreign = OCI .. "image.layer.nondistributable.v1.tar+gzip" },
  docker = { manifest = DOCKER .. "distribution.manifest.v2+json", index = DOCKER .. "distribution.manifest.list.v2+json",
    config = DOCKER .. "container.image.v1+json", gzip = DOCKER .. "image.rootfs.diff.tar.gzip",
    zstd = DOCKER .. "image.rootfs.diff.tar.zstd", none = DOCKER .. "image.rootfs.diff.tar",
    foreign = DOCKER .. "image.rootfs.foreign.diff.tar.gzip" },
  empty = OCI .. "empty.v1+json", -- the configuration of an artifact, and a layer without content: "{}"
}
