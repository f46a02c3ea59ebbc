---@meta bakery.oci

--- Image references, registries and layout directories. Calls marked (async) yield in tasks. What
--- goes wrong in the world is `nil, err`: oci.not_found and oci.platform (class build), oci.reference
--- and oci.config (usage), oci.blocked (denied), oci.unauthorized, oci.denied, oci.unsupported, oci.too_large, oci.rate_limited,
--- oci.digest_mismatch, oci.size_mismatch, oci.manifest, oci.json, oci.schema1, oci.blob_unknown,
--- oci.realm, oci.token, oci.location, oci.helper, http.<status> and the codes of bakery.http
--- (infra), errno names for files, cancelled. err.retryable says whether another try may help; the
--- client has made its own already. Messages name host, repository and reference and quote the
--- server, never credentials or signed URLs.
---@class bakery.ocilib
local M = {}

---@class bakery.oci.ref tostring gives the canonical text; == compares that
---@field registry string "docker.io", "localhost:5000"
---@field repository string "library/debian"
---@field tag? string "latest" when the text has neither tag nor digest
---@field digest? string
---@field name string registry/repository

---@class bakery.oci.descriptor
---@field digest string "sha256:…" or "sha512:…"
---@field size? integer bytes; checked when given
---@field data? string the content in base64: saves the download

---@class bakery.oci.manifest
---@field digest string
---@field media_type string
---@field size integer
---@field raw? string the bytes as received; push these again, never an encoding of `manifest`

---@class bakery.oci.resolved : bakery.oci.manifest
---@field manifest table raw, decoded by bakery.json
---@field index? string the index (raw) that the platform was looked up in
---@field index_digest? string
---@field index_media_type? string

---@class bakery.oci.login
---@field host? string registry it is for (every one)
---@field username? string
---@field password? string
---@field identity_token? string OAuth2 refresh token
---@field registry_token? string sent as it is as Bearer token

---@class bakery.oci.client.options
---@field auth? boolean|bakery.oci.login|table<string, bakery.oci.login> false: look for no
--- credentials; a login; or logins by host. Without it: BAKERY_REGISTRY_{HOST,USERNAME,PASSWORD,TOKEN},
--- DOCKER_AUTH_CONFIG, REGISTRY_AUTH_FILE, containers/auth.json, docker's config.json and helpers
---@field auth_file? string looked into before the other files
---@field plain_http? string[] hosts spoken to without TLS; loopback hosts are tried with TLS first
---@field ca_file? string PEM, trusted beside the system's authorities
---@field insecure? boolean no certificate checks
---@field user_agent? string
---@field retries? integer tries after the first (4, or BAKERY_REGISTRY_RETRY_ATTEMPTS - 1)
---@field mirrors? table<string, string|string[]> "docker.io" -> "mirror.example/hub": places to read
--- names with that beginning from first; before those of registries.conf
---@field registries_conf? string|false file instead of the usual ones; false: none. Rules for
--- mirrors, locations, insecure and blocked registries are honoured
---@field chunk_size? integer upload larger blobs in PATCH requests of so many bytes (0 = never: every
--- registry takes whole blobs); ignored where PATCH turns out not to work
---@field manifest_max? integer bytes of a manifest that is read (4 MiB, or BAKERY_REGISTRY_MANIFEST_MAX; at most 16 MiB)
---@field parallel? integer blob transfers per host at once (8); fewer while the host says 429 or 503

---@class bakery.oci.client closes with <close>, :close(), or when collected
local Client = {}

--- Reads an image reference by Docker's rules.
---@param text string
---@return bakery.oci.ref|nil
---@return table? err oci.reference, with the column
function M.ref(text) end

--- Is it a sha256 or sha512 digest in canonical form?
---@param text string
---@return boolean
function M.is_digest(text) end

--- A client; share one, it keeps connections, tokens and what it learnt of each registry.
---@param opts? bakery.oci.client.options
---@return bakery.oci.client|nil
---@return table? err
function M.client(opts) end

--- Where credentials for a host would come from (async), or nil. May run a credential helper.
---@param host string "ghcr.io" or "ghcr.io/org/app"
---@return { source: string, username?: string }|nil
---@return table? err
function M.credentials(host) end

--- Checks a manifest or index document as downloads are checked: JSON without duplicate keys, not
--- list and image at once, no schema 1.
---@param raw string
---@param media_type? string what it was announced as
---@return string|nil media_type the document's own
---@return table? err oci.json, oci.manifest, oci.schema1
function M.check_manifest(raw, media_type) end

--- The entry of an index that suits a platform best.
---@param raw string
---@param platform string "os/arch[/variant]"
---@return bakery.oci.manifest|nil descriptor digest, size, media_type
---@return table? err oci.platform
function M.select_platform(raw, platform) end

--- Is it the media type of an OCI index or of a Docker manifest list?
---@param media_type? string
---@return boolean
function M.is_index(media_type) end

--- The tag that lists a manifest's referrers where the registry has no API for them: "sha256-HEX".
---@param digest string
---@return string
function M.fallback_tag(digest) end

--- Opens a layout directory.
---@param dir string
---@param opts? { create?: boolean }
---@return bakery.oci.layout|nil
---@return table? err
function M.layout(dir, opts) end

--- The manifest a reference names (async), verified; with a platform, indexes are followed.
---@param ref string|bakery.oci.ref
---@param opts? { platform?: string } "os/arch[/variant]"
---@return bakery.oci.resolved|nil
---@return table? err
function Client:resolve(ref, opts) end

--- The manifest or index as it is (async), verified but not decoded.
---@param ref string|bakery.oci.ref
---@return bakery.oci.manifest|nil
---@return table? err
function Client:manifest(ref) end

--- Digest, size and type without the content (async).
---@param ref string|bakery.oci.ref
---@return bakery.oci.manifest|nil
---@return table? err
function Client:head(ref) end

--- Downloads a blob (async): hashed on the way, resumed when the connection breaks, renamed to path
--- when all is right.
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor|string
---@param path string
---@param opts? { progress?: userdata, in_place?: boolean } loop.counter(): bytes are added to done; in_place: path itself
--- grows, for who reads it meanwhile (`grows_to` of bakery.snapshot.apply), and is gone after an error
---@return true|nil
---@return table? err
function Client:blob(repo, desc, path, opts) end

--- A small blob (async) as a string.
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor|string
---@param opts? { max?: integer } bytes (16 MiB)
---@return string|nil
---@return table? err
function Client:blob_data(repo, desc, opts) end

--- Downloads a blob into a sink (async), an object that takes bytes as they come: a
--- bakery.soci.builder. Its content counts only when this has returned true.
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor|string
---@param sink userdata
---@param opts? { progress?: userdata } loop.counter()
---@return true|nil
---@return table? err
function Client:stream(repo, desc, sink, opts) end

--- Is the blob there (async)?
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor|string
---@return boolean|nil there
---@return integer|table|nil size_or_err
function Client:has_blob(repo, desc) end

--- Brings a blob to a repository (async): nothing is sent when it is there or can be mounted. A broken
--- upload goes on where the registry says it stopped, or starts over.
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor
---@param source { file?: string, data?: string, mount_from?: string, chunk_size?: integer, progress?: userdata }
--- mount_from: a repository of the same registry that has the blob ("team/app" or "host/team/app"), ""
--- asks for any (few registries know that); chunk_size: instead of the client's
---@return "exists"|"mounted"|"uploaded"|nil
---@return table? err
function Client:push_blob(repo, desc, source) end

--- Brings a blob from one repository to another (async): known there, mounted when the registry is the
--- same, there already, or streamed without touching the disk. The upload is completed only when the
--- digest is right.
---@param to string|bakery.oci.ref
---@param from string|bakery.oci.ref
---@param desc bakery.oci.descriptor with size
---@param opts? { progress?: userdata }
---@return "exists"|"mounted"|"uploaded"|nil
---@return table? err
function Client:copy_blob(to, from, desc, opts) end

--- Deletes a blob (async); most registries leave that to their garbage collection.
---@param repo string|bakery.oci.ref
---@param desc bakery.oci.descriptor|string
---@return true|nil
---@return table? err oci.unsupported, oci.not_found
function Client:delete_blob(repo, desc) end

--- PUTs a manifest or index (async). A tag that shows this digest already is left alone. Where the
--- registry has no referrers API, a manifest with a subject also goes into the fallback tag.
---@param repo string|bakery.oci.ref
---@param reference? string tag or digest (nil: that of repo)
---@param raw string
---@param media_type string
---@param opts? { look?: boolean } look: false pushes without asking first what the tag shows
---@return { digest: string, size: integer, media_type: string }|nil
---@return table? err
function Client:push_manifest(repo, reference, raw, media_type, opts) end

---@class bakery.oci.page
---@field last? string only names behind this one, in the registry's order
---@field max? integer stop at so many
---@field page_size? integer names per request (1000)
---@field sort? boolean by bytes instead of the registry's order

--- Tags (async), in the registry's order: all pages.
---@param repo string|bakery.oci.ref
---@param opts? bakery.oci.page
---@return string[]|nil
---@return table? err
function Client:tags(repo, opts) end

--- Repositories of a registry (async), where it has a catalog.
---@param host string
---@param opts? bakery.oci.page
---@return string[]|nil
---@return table? err
function Client:catalog(host, opts) end

--- Deletes a manifest with all its tags (reference with digest), or only a tag (async).
---@param ref string|bakery.oci.ref
---@return true|nil
---@return table? err
function Client:delete(ref) end

--- What refers to a manifest (async): descriptors with artifactType and annotations, from the registry's
--- API or the fallback tag. The filter is applied here where the registry does not.
---@param ref string|bakery.oci.ref with digest
---@param opts? { artifact_type?: string }
---@return table[]|nil
---@return table? err
function Client:referrers(ref, opts) end

--- As M.credentials, with this client's options (async).
---@param host string
---@return { source: string, username?: string }|nil
---@return table? err
function Client:credentials(host) end

--- Is there a registry that lets us in (async)?
---@param host string
---@param opts? { strict?: boolean } strict: credentials that are refused are an error, also where
--- reading would do without
---@return true|nil
---@return table? err
function Client:ping(host, opts) end

--- Saves credentials (async) with the helper that the file names for the host, else in the file, which
--- keeps what else it holds and gets mode 0600. They are not tried: see ping.
---@param login { host: string, username?: string, password?: string, identity_token?: string, file?: string }
--- host: "ghcr.io", or "ghcr.io/org/app" in a containers auth file; file: instead of the client's
--- auth_file, REGISTRY_AUTH_FILE or docker's config.json
---@return string|nil where path, or "credential helper 'x'"
---@return table? err oci.login, oci.auth_file, oci.helper, errno names
function Client:save_login(login) end

--- Removes saved credentials (async).
---@param host string
---@param opts? { file?: string }
---@return string|false|nil where false: there were none
---@return table? err
function Client:erase_login(host, opts) end

--- What is saved (async), without the secrets.
---@param opts? { file?: string }
---@return { registry: string, username?: string, source: string }[]|nil
---@return table? err
function Client:logins(opts) end

--- Warnings since the last call, each text once: from servers, about stale credentials or settings.
---@return string[]
function Client:warnings() end

function Client:close() end

--- An OCI layout directory; several processes may write at once.
---@class bakery.oci.layout closes with <close>, :close(), or when collected
local Layout = {}

--- Path where a blob is or would be.
---@param digest string
---@return string|nil
---@return table? err
function Layout:blob_path(digest) end

---@param digest string
---@return boolean
function Layout:has_blob(digest) end

--- Stores a blob (async): bytes, or a file that is copied and verified; link=true hard-links it when
--- that works, trusting digest.
---@param source string|{ file?: string, data?: string, digest?: string, link?: boolean, progress?: userdata }
---@return string|nil digest
---@return integer|table size_or_err
function Layout:put_blob(source) end

--- A blob's bytes (async), verified.
---@param digest string
---@param max? integer bytes (16 MiB)
---@return string|nil
---@return table? err
function Layout:get_blob(digest, max) end

--- index.json (async), decoded and as text.
---@return table|nil index
---@return string|table raw_or_err
function Layout:index() end

--- Adds an entry to index.json (async). An entry that had the name stays without it.
---@param desc table descriptor { mediaType=, digest=, size=, platform=, annotations= }
---@param ref_name? string org.opencontainers.image.ref.name
---@return true|nil
---@return table? err
function Layout:add_manifest(desc, ref_name) end

--- Removes the entry of a name (async).
---@param ref_name string
---@return boolean|nil found
---@return table? err
function Layout:remove(ref_name) end

--- The manifest of a name or digest, or the only one (async), as Client:resolve.
---@param name? string
---@param platform? string
---@return bakery.oci.resolved|nil
---@return table? err
function Layout:resolve(name, platform) end

function Layout:close() end

return M
