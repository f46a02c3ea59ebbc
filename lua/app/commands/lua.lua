--- Help entry of `bakery lua`; running it is app.lua's business (app.main calls it directly).
local M = {}

function M.run() return require("app.lua").main { "lua" } end

return M
