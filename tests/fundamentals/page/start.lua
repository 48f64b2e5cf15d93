-- Crear flujo de trabajo en worker temporal
local pid = process.spawn("app.workflows:order_processor", "app:temporal_worker", order_data)
-- Enviar señales al flujo de trabajo
process.send(pid, "update", {status = "approved"})
